"""Where tasks are recorded: a team with a tool, documents and a memory, and what may be changed in it."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

from loomd.agents.approval import Decision, Verdict
from loomd.amoeba.task import Budget
from loomd.cassette import Cassette, parse, write
from loomd.daemon import Settings, open_system
from loomd.engine.intake import new_task
from loomd.events.event import ApprovalRequested, Event
from loomd.manifest.delivery import Delivery
from loomd.manifest.load import load
from loomd.manifest.object import Snapshot
from loomd.manifest.source import SourceFile
from loomd.replay.export import Serving, export

FEES = '''
def late_fee(days: int) -> str:
    """Compute what a late book costs."""
    if days < 0:
        raise ValueError("days: expected 0 or more")
    return f"{days * 0.2:.2f}"
'''
SKILL = "---\nname: manners\ndescription: How to speak.\n---\nBe polite.\n"
TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec:
  type: scripted
  replies:
    - system: You split
      when: opening*fee
      json:
        parts:
          - {goal: "What are the opening hours?", needs: []}
          - {goal: "What does a book cost that is 12 days late?", needs: []}
    - when: 12 days late
      toolCalls:
        - {name: late-fee, arguments: {days: 12}}
        - {name: late-fee, arguments: {days: 3}}
    - {when: 12 days late, text: It costs 2.40 euros.}
    - {when: minus, toolCalls: [{name: late-fee, arguments: {days: -1}}, {name: shout, arguments: {}}]}
    - {when: minus, text: That cannot be.}
    - {when: again, times: null, toolCalls: [{name: late-fee, arguments: {days: 1}}]}
    - {when: broken, error: permanent, text: no more}
    - {when: busy, error: temporary, text: later}
    - {when: slow, text: at last, delay: 1h}
    - {when: opening hours, text: "It opens at nine [1]."}
    - {text: The answer is 42., times: null}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: late-fee}
spec: {type: python, file: fees.py, function: late_fee, effects: read}
---
apiVersion: loomd.dev/v1
kind: Embedder
metadata: {name: words}
spec: {type: hash}
---
apiVersion: loomd.dev/v1
kind: KnowledgeBase
metadata: {name: handbook}
spec: {embedder: words, sources: [{path: documents}]}
---
apiVersion: loomd.dev/v1
kind: Memory
metadata: {name: notes}
spec: {recall: {enabled: true}}
---
apiVersion: loomd.dev/v1
kind: Skill
metadata: {name: manners}
spec: {file: SKILL.md, triggers: [{type: always}]}
---
apiVersion: loomd.dev/v1
kind: Interceptor
metadata: {name: private}
spec: {type: redact, detectors: [email]}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: cashier}
spec:
  provider: script
  description: Computes fees for late books.
  prompt: |
    You are {{ agent }}.
    Be exact.
  domains: {fees: 0.9}
  tools: [late-fee]
  memory: notes
  skills: [manners]
  interceptors: [private]
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: porter}
spec:
  provider: script
  description: Knows the opening hours.
  domains: {hours: 0.9}
  knowledge: [handbook]
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: desk}
spec:
  agents: [cashier, porter]
  scale: {type: threshold, complexity: 0.3}
"""


def furnish(folder: Path) -> None:
    """Write the files that the team reads."""
    (folder / "fees.py").write_text(FEES)
    (folder / "SKILL.md").write_text(SKILL)
    (folder / "documents").mkdir(exist_ok=True)
    (folder / "documents" / "hours.md").write_text("# Opening hours\n\nThe library opens at nine.\n")


async def record(
    folder: Path,
    goal: str,
    *,
    text: str = TEAM,
    seconds: float | None = None,
    says: Verdict | None = None,
    spoil: Callable[[], object] = lambda: None,
) -> Cassette:
    """Run a task for real and return its cassette, as it is read back.

    `says` is what a person answers it, `spoil` changes something before it is exported.
    """
    furnish(folder)
    async with open_system(Settings(folder / "state", folder / "models", folder / "socket")) as system:
        await system.reconciler.apply(Delivery("studio", (SourceFile(folder, "team.yaml", text.encode()),)))
        task = new_task(goal, system.clock, seed=5, budget=Budget(seconds=seconds))
        async with system.bus.stream() as events:
            name = await system.engine.submit(task)
            if says is not None:
                asked = await anext(_questions(events))
                await system.engine.decide(asked.approval, Decision(says, "ann", "I looked"))
            await system.engine.result(name)
        spoil()
        topology = system.reconciler.topology
        cassette = await export(system.store, task.id, Serving(topology.snapshot, topology.live))
        assert write(await export(system.store, task.id)) == write(cassette)
    return parse(write(cassette), "cassette")


async def _questions(events: AsyncIterator[Event]) -> AsyncIterator[ApprovalRequested]:
    async for event in events:
        if isinstance(event.data, ApprovalRequested):
            yield event.data


def changed(folder: Path, old: str = "", new: str = "") -> Snapshot:
    """Return the team with one place changed."""
    assert not old or TEAM.count(old) == 1
    text = TEAM.replace(old, new) if old else TEAM
    return loaded(folder, text)


def loaded(folder: Path, text: str) -> Snapshot:
    """Return a team as it is written."""
    return load([SourceFile(folder, "team.yaml", text.encode())])
