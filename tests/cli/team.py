"""A team whose tasks do everything that there is to tell: split, call tools, fail, wait."""

from pathlib import Path

TOKEN = "sk-canary-0123456789abcdef"
WORD = "hunter2canary"
SPLIT = "Compare and analyse, then split; then report in detail; and also conclude"
TEAM = """\
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script, namespace: SPACE}
spec:
  type: scripted
  replies:
    - when: add
      text: Let me add.
      toolCalls: [{name: add, arguments: {a: 1, b: 2, apiKey: WORD, note: "by TOKEN"}}]
      usage: {input: 100, output: 10}
    - {when: add, text: "It is 3.\\nThat is all.", usage: {input: 120, output: 5}}
    - {when: break, toolCalls: [{name: add, arguments: {a: 1}}, {name: long, arguments: {}}]}
    - {when: break, text: It broke.}
    - {when: clear, text: "a\\e[2Jb"}
    - {when: wait, toolCalls: [{name: hold, arguments: {until: "FILE"}}]}
    - {when: wait, text: at last}
    - when: split
      system: You split a request
      times: null
      json: {parts: [{goal: left, needs: []}, {goal: right add, needs: []}, {goal: both, needs: [1, 2]}]}
    - {when: left, error: permanent, text: the account is closed}
    - {when: "*", text: plain}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: add, namespace: SPACE}
spec: {type: python, file: tools.py, function: add}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: long, namespace: SPACE}
spec: {type: python, file: tools.py, function: long}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: hold, namespace: SPACE}
spec: {type: python, file: tools.py, function: hold, effects: read}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada, namespace: SPACE}
spec: {provider: script, description: adds numbers, tools: [add, long, hold], domains: {sums: 0.9, words: 0.9}}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: bob, namespace: SPACE}
spec: {provider: script, description: writes words, domains: {words: 0.05}}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: team, namespace: SPACE}
spec: {agents: [ada, bob], match: {type: auction, uncertainty: 0.001}}
"""
TOOLS = '''
import time
from pathlib import Path


def add(a: int, b: int, apiKey: str = "", note: str = "") -> int:
    """Add two numbers."""
    return a + b


def long() -> str:
    """Return much."""
    return "x" * 3000 + "the end"


def hold(until: str) -> str:
    """Wait until a file is there."""
    while not Path(until).exists():
        time.sleep(0.02)
    return "there"
'''


def write(folder: Path, space: str = "default") -> None:
    """Write the team into a folder; what waits there waits for the file `go` in it."""
    (folder / "tools.py").write_text(TOOLS)
    text = (
        TEAM.replace("SPACE", space).replace("WORD", WORD).replace("TOKEN", TOKEN).replace("FILE", str(folder / "go"))
    )
    (folder / "team.yaml").write_text(text)
