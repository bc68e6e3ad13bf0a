"""The manifests that the figures are about: 1,000 files of about 70 lines, ten to a team."""

from pathlib import Path

AGENTS, TOOLS = 6, 2
PER_TEAM = AGENTS + TOOLS + 2

PROVIDER = """# The model of team {n:03}.
apiVersion: loomd.dev/v1
kind: Provider
metadata:
  name: model-{n:03}
  labels:
    team: t{n:03}
    tier: remote
spec:
  type: openai
  model: gpt-4o-mini
  baseUrl: http://127.0.0.1:8080/v1
  apiKey:
    valueFrom:
      env: MODEL_KEY_{n:03}
  headers:
{headers}
  deadline: 30s
  temperature: 0.2
  pricing:
    input: 0.15
    output: 0.60
"""

TOOL = """# A web service that team {n:03} may ask.
apiVersion: loomd.dev/v1
kind: Tool
metadata:
  name: lookup-{n:03}-{k}
  labels:
    team: t{n:03}
spec:
  type: http
  description: Looks up records of register {k} by number and date, and returns them as JSON.
  method: POST
  url: https://records.example/v1/registers/{k}
  headers:
    X-Team: t{n:03}
    Accept: application/json
  body:
    number: "{{number}}"
    from: "{{from}}"
  parameters:
    type: object
    properties:
      number:
        type: integer
        description: Number of the record.
      from:
        type: string
        description: First day, as 2025-01-31.
{properties}
    required:
      - number
  maxResponse: 256Ki
"""

AGENT = """# Agent {k} of team {n:03}.
apiVersion: loomd.dev/v1
kind: Agent
metadata:
  name: agent-{n:03}-{k}
  labels:
    team: t{n:03}
    shift: day
  annotations:
    example.com/owner: team-{n:03}@example.com
spec:
  description: Answers questions about topic {k} of team {n:03}, briefly and with sources.
  provider: model-{n:03}
  prompt: |
    You are {{{{ agent }}}} of team {n:03}. Answer the request exactly and briefly.

    Work in this order:
    - Read the request twice, and say in one sentence what is asked.
    - Look up what you need; never guess a number, a name or a date.
    - When two sources disagree, name both and say which one is newer.
    - Write the answer first, then where you know it from.
    - Keep to the words of the records; do not paraphrase a law.
    - Say so when a record is missing, and who may have it.
    {{% if goal %}}
    The goal of all this is {{{{ goal }}}}.
    {{% endif %}}
  domains:
    topic-{k}: 0.7
    general: 0.4
    registers: 0.5
  tools:
    - lookup-{n:03}-0
    - lookup-{n:03}-1
  output:
    type: object
    properties:
      answer:
        type: string
        description: The answer, in at most three sentences.
      sources:
        type: array
        items:
          type: object
          properties:
            name:
              type: string
            date:
              type: string
          required:
            - name
      sure:
        type: number
        minimum: 0
        maximum: 1
    required:
      - answer
      - sources
  temperature: 0.2
  maxTokens: 1024
  limits:
    steps: 6
    tokens: 20000
    cost: 0.25
    time: 60s
    repeats: 2
    # The night shift may use more:
    # tokens: 40000
    # time: 120s
"""

CLUSTER = """# Team {n:03}.
apiVersion: loomd.dev/v1
kind: Cluster
metadata:
  name: team-{n:03}
  labels:
    team: t{n:03}
spec:
  description: Knows the registers of region {n:03}.
  planner: model-{n:03}
  agents:
{agents}
  match:
    type: auction
    reserve: 0.25
  scale:
    type: threshold
    maxChildren: 4
  merge: join
  evaluate:
    type: rules
  adapt:
    type: ema
"""


def write(folder: Path, teams: int) -> tuple[int, int]:
    """Write the files and return the number of objects and of lines in them."""
    files: dict[str, str] = {}
    for n in range(teams):
        headers = "\n".join(f"    X-Region-{i:02}: north-{i}-of-team-{n:03}" for i in range(55))
        files[f"provider-{n:03}"] = PROVIDER.format(n=n, headers=headers)
        properties = "\n".join(
            f"      field{i:02}:\n        type: string\n        description: Field {i} of the record."
            for i in range(14)
        )
        for k in range(TOOLS):
            files[f"tool-{n:03}-{k}"] = TOOL.format(n=n, k=k, properties=properties)
        for k in range(AGENTS):
            files[f"agent-{n:03}-{k}"] = AGENT.format(n=n, k=k)
        members = "\n".join(f"    - agent-{n:03}-{k}" for k in range(AGENTS))
        files[f"cluster-{n:03}"] = CLUSTER.format(n=n, agents=members)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, "utf-8")
    return len(files), sum(text.count("\n") for text in files.values())
