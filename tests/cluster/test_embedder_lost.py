"""An embedder that fails costs the task no more than the meaning: words are compared instead, and that is told."""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from loomd.cluster.patient import Patient
from loomd.errors import LoomdError, Permanent, Temporary
from loomd.events.event import Event, Fallback
from loomd.testing import VirtualClock
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
spec: {type: openai, model: m, dimension: 8, baseUrl: "http://127.0.0.1:PORT/v1", deadline: 10m}
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
spec: {agents: [a, b], embedder: away, embedderWait: 200ms, match: {type: auction, exploration: 0}}
"""


async def test_a_task_goes_on_without_the_embedder(tmp_path: Path) -> None:
    """The right agent still takes it; the events say why, and so does the evidence of SENSE.

    One task finds out that nobody is there, and waits for it once; others do not wait at all.
    """
    world, told = World(tmp_path), list[Fallback]()
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # nobody listens there
        (tmp_path / "manifests.yaml").write_text(TEAM.replace("PORT", str(held.getsockname()[1])))
        async with world.open() as system:

            def hear(event: Event) -> None:
                if isinstance(event.data, Fallback):
                    told.append(event.data)

            system.bus.subscribe(hear)
            async with asyncio.timeout(60):  # its own deadline is ten minutes
                result, *others = [
                    await system.engine.result(await system.engine.submit(task_of(system, f"draft a lease{more}")))
                    for more in (" contract", " soon", " today")
                ]
    assert (result.phase, result.error) == ("Succeeded", "")
    assert result.sensed is not None
    assert result.matched is not None
    assert (list(result.sensed.domains), result.matched.winner) == (["law"], "a")
    assert [(one.phase, one.fallback) for one in told] == [
        ("sense", "the goal is compared by shared words"),
        ("adapt", "the task is not kept to compare later ones with"),
    ] * 3
    assert "Embedder/away has not answered within 0.2 s" in told[0].reason
    assert result.sensed.evidence[-1] == f"{told[0].fallback}: {told[0].reason}"
    assert [one.phase for one in others] == ["Succeeded"] * 2


class Slow:
    """An embedder that answers when it is let."""

    fingerprint = "slow"

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.free = asyncio.Event()
        self.wrong: LoomdError | None = None

    async def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Wait, and answer or fail."""
        self.asked.append(list(texts))
        await self.free.wait()
        if self.wrong is not None:
            raise self.wrong
        return np.ones((len(texts), 1), np.float32)


async def settle() -> None:
    """Let go on what was let go."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_nobody_waits_for_an_embedder_that_is_away() -> None:
    """It is asked once in the hot path; then beside, each half minute, by whichever cluster, until it answers."""
    slow, clock = Slow(), VirtualClock()
    first, second = Patient("Embedder/slow", slow, 0.01, clock), Patient("Embedder/slow", slow, 60.0, clock)
    with pytest.raises(Temporary, match=r"has not answered within 0\.01 s; it is asked again every 30 s"):
        await first.embed(["a"])
    for patient in (first, second, first):  # 60 seconds are not waited for
        with pytest.raises(Temporary, match="no task waits"):
            await patient.embed(["b"])
    assert slow.asked == [["a"]]
    slow.wrong = Temporary("gone")
    slow.free.set()
    await settle()
    clock.advance(29.0)
    with pytest.raises(Temporary, match="gone; it is asked again"):
        await second.embed(["c"])
    assert slow.asked == [["a"]]
    clock.advance(1.0)
    slow.wrong = None
    with pytest.raises(Temporary, match="gone"):
        await second.embed(["c"])
    await settle()
    assert slow.asked == [["a"], ["c"]]
    assert (await first.embed(["d"])).shape == (1, 1)
    assert (await second.embed(["c"])).shape == (1, 1)
    assert slow.asked == [["a"], ["c"], ["d"]]  # what came for c is not asked for again


async def test_an_answer_that_comes_late_is_kept_and_one_task_does_not_speak_for_others() -> None:
    """Many texts may take longer than one; a text that is refused lets nobody else do without the embedder."""
    slow, clock = Slow(), VirtualClock()
    patient = Patient("Embedder/slow", slow, 0.01, clock)
    with pytest.raises(Temporary):
        await patient.embed(["many", "texts"])
    clock.advance(0.015)
    slow.free.set()
    await settle()
    assert (await patient.embed(["many", "texts"])).shape == (2, 1)
    slow.wrong = Permanent("it is too long")
    with pytest.raises(Permanent, match="too long"):
        await patient.embed(["long"])
    slow.wrong = None
    assert (await patient.embed(["short"])).shape == (1, 1)
    slow.free.clear()
    with pytest.raises(Temporary):
        await patient.embed(["last"])
    patient.close()
    await settle()
    clock.advance(30.0)
    with pytest.raises(Temporary):
        await patient.embed(["next"])
    await settle()
    assert slow.asked[-1] == ["next"]
    patient.close()
