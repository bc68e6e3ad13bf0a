"""An embedder that fails costs the task no more than the meaning: words are compared instead, and that is told."""

import socket
from pathlib import Path

import msgspec

from loomd.events.event import Event, Fallback
from tests.engine.world import World, task_of

TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: [{text: It is done., times: null}]}
---
apiVersion: loomd.dev/v1
kind: Embedder
metadata: {name: away}
spec: {type: openai, model: m, dimension: 8, baseUrl: "http://127.0.0.1:PORT/v1", deadline: 300ms}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: a}
spec: {description: Drafts contracts and leases., provider: script, domains: {law: 0.6}}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: b}
spec: {description: Cooks soups., provider: script, domains: {cooking: 0.6}}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: default}
spec: {agents: [a, b], embedder: away, match: {type: auction, exploration: 0}}
"""


async def test_a_task_goes_on_without_the_embedder(tmp_path: Path) -> None:
    """The right agent still takes it; the event says why, and so does the evidence of SENSE."""
    world, told = World(tmp_path), list[Fallback]()
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # nobody listens there
        (tmp_path / "manifests.yaml").write_text(TEAM.replace("PORT", str(held.getsockname()[1])))
        async with world.open() as system:

            def hear(event: Event) -> None:
                if isinstance(event.data, Fallback):
                    told.append(event.data)

            system.bus.subscribe(hear)
            result = await system.engine.result(await system.engine.submit(task_of(system, "draft a lease contract")))
    assert (result.phase, result.error) == ("Succeeded", "")
    assert result.sensed is not None
    assert result.matched is not None
    assert (list(result.sensed.domains), result.matched.winner) == (["law"], "a")
    assert [msgspec.structs.replace(one, reason="") for one in told] == [
        Fallback("sense", "", "the goal is compared by shared words")
    ]
    assert "Embedder/away" in told[0].reason
    assert result.sensed.evidence[-1] == f"{told[0].fallback}: {told[0].reason}"
