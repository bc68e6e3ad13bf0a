"""Another embedder: everything is embedded anew beside the index that serves, also over a restart."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from loomd.daemon import System, open_system
from loomd.errors import Permanent
from loomd.lifecycle import Life, Signals
from loomd.manifest.delivery import Delivery
from loomd.manifest.object import Ref
from loomd.manifest.source import SourceFile
from loomd.notify import Notifier
from loomd.settings import Settings
from tests.knowledge.vectors_service import VectorService, vector_service
from tests.reconcile.gate import gated
from tests.sources.serving import provider

EMBEDDER = "apiVersion: loomd.dev/v1\nkind: Embedder\nmetadata: {name: e}\nspec: %s\n"
BASE = """
apiVersion: loomd.dev/v1
kind: KnowledgeBase
metadata: {name: kb}
spec:
  embedder: e
  sources: [{path: docs}]
"""
DOCUMENTS = 6
WITHIN = 120.0
"""Seconds in which all must have come about."""


@asynccontextmanager
async def daemon(
    home: Path, notifier: Notifier | None = None, told: list[Signals] | None = None
) -> AsyncGenerator[System, None]:
    """Run a daemon in this process from its start to its end; what it may be told is added to a list."""
    settings = Settings(home / "state", home / "models", home / "s.sock", watch=(home / "manifests",))
    signals = Signals()
    if told is not None:
        told.append(signals)
    async with open_system(settings) as system:
        life = asyncio.ensure_future(Life(system, lambda: settings, notifier or Notifier(), signals).run())
        try:
            yield system
        finally:
            signals.stop.set()
            await life


async def until_ready(system: System) -> None:
    """Wait until a daemon takes work."""
    while not system.ready:  # noqa: ASYNC110  # what others do is looked at
        await asyncio.sleep(0.01)


async def dimension(system: System) -> int:
    """Return the length of the vectors that serve, after a search over them."""
    base: Any = system.reconciler.topology.live[Ref("KnowledgeBase", "kb")]
    assert (await base.search("document number 3"))[0].text == "Document number 3."
    return int(base.standing().dimension)


def declare(home: Path, embedder: str) -> None:
    """Declare the knowledge base with an embedder."""
    (home / "manifests" / "all.yaml").write_text(f"{EMBEDDER % embedder}---{BASE}")


def asked(service: VectorService) -> list[str]:
    """Return the passages that a service was asked about, sorted."""
    return sorted(text.partition("\n")[2] for text in service.texts if "\n" in text)


async def test_the_old_index_serves_until_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work is taken meanwhile, after a restart too, and nothing that came before it is embedded again."""
    monkeypatch.setattr("loomd.lifecycle.HASTE", 0.1)
    docs = tmp_path / "manifests" / "docs"
    docs.mkdir(parents=True)
    for at in range(DOCUMENTS):
        (docs / f"{at}.md").write_text(f"Document number {at}.\n")
    declare(tmp_path, "{type: hash, dimension: 64}")
    with vector_service() as service:
        async with asyncio.timeout(WITHIN), daemon(tmp_path) as system:
            await until_ready(system)
            assert await dimension(system) == 64
        declare(
            tmp_path,
            f"{{type: openai, model: m, dimension: 4, baseUrl: '{service.url}', batch: 1, calls: 1, deadline: 1m}}",
        )
        service.room = 3
        async with asyncio.timeout(WITHIN), daemon(tmp_path) as system:
            await until_ready(system)
            assert await dimension(system) == 64
            while not service.refused:  # noqa: ASYNC110  # a thread counts
                await asyncio.sleep(0.01)
            assert await dimension(system) == 64
        before = asked(service)
        async with asyncio.timeout(WITHIN), daemon(tmp_path) as system:
            await until_ready(system)
            assert await dimension(system) == 64
            assert asked(service) == before
            service.room = 1 << 20
            while system.reconciler.number < 2:  # noqa: ASYNC110  # what others do is looked at
                await asyncio.sleep(0.01)
            assert await dimension(system) == 4
        assert asked(service) == [f"Document number {at}." for at in range(DOCUMENTS)]


async def test_a_set_that_is_refused_keeps_what_was_embedded(tmp_path: Path) -> None:
    """What a service was paid for is there at the next attempt, though nothing ever served."""
    docs = tmp_path / "docs"
    docs.mkdir()
    for at in range(DOCUMENTS):
        (docs / f"{at}.md").write_text(f"Document number {at}.\n")
    with vector_service() as service:
        embedder = f"{{type: openai, model: m, dimension: 4, baseUrl: '{service.url}', batch: 1, calls: 1}}"
        file = SourceFile(tmp_path, "all.yaml", f"{EMBEDDER % embedder}---{BASE}".encode())
        async with open_system(Settings(tmp_path / "state", tmp_path / "models", tmp_path / "s.sock")) as system:
            service.most = 3
            with pytest.raises(Permanent, match="HTTP 400"):
                await system.reconciler.apply(Delivery("test", (file,)))
            assert len(asked(service)) == 4
            service.most = 1 << 20
            await system.reconciler.apply(Delivery("test", (file,)))
            assert await dimension(system) == 4
        assert len(asked(service)) == DOCUMENTS + 1


async def test_a_set_that_is_refused_changes_no_answer(tmp_path: Path) -> None:
    """Its documents are found once a set with them serves, also while tasks hold an earlier one."""

    async def apply(name: str, more: str = "") -> None:
        for old in docs.iterdir():
            old.unlink()
        (docs / f"{name}.md").write_text(f"All about {name}.\n")
        text = f"{EMBEDDER % '{type: hash, dimension: 64}'}---{BASE}{more}"
        await system.reconciler.apply(Delivery("test", (SourceFile(tmp_path, "all.yaml", text.encode()),)))
        await system.reconciler.topology.settled()

    async def found() -> list[str]:
        base: Any = system.reconciler.topology.live[Ref("KnowledgeBase", "kb")]
        return [passage.source for passage in await base.search("all about it")]

    docs = tmp_path / "docs"
    docs.mkdir()
    async with open_system(Settings(tmp_path / "state", tmp_path / "models", tmp_path / "s.sock")) as system:
        await apply("cats")
        async with system.reconciler.topology.lease():
            with vector_service() as service:
                service.status = 400
                spec = f"{{type: openai, model: m, dimension: 4, baseUrl: '{service.url}'}}"
                later = BASE.replace("name: kb", "name: later").replace("embedder: e", "embedder: f")
                more = f"---\n{EMBEDDER.replace('name: e', 'name: f') % spec}---{later}"
                with pytest.raises(Permanent, match="HTTP 400"):
                    await apply("dogs", more)
            assert await found() == ["docs/cats.md:1-1"]
            await apply("owls")
            assert await found() == ["docs/owls.md:1-1"]


class Listening(Notifier):
    """Remembers when it was said that the daemon is ready."""

    def __init__(self) -> None:
        super().__init__()
        self.readies: asyncio.Queue[str] = asyncio.Queue()

    def ready(self, status: str) -> None:
        """Remember it."""
        self.readies.put_nowait(status)


async def test_a_reload_does_not_wait_for_what_takes_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is over with what serves until then, and the next one is heard."""
    monkeypatch.setattr("loomd.lifecycle.HASTE", 0.1)
    gate, told, notifier = gated(monkeypatch), list[Signals](), Listening()
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "a.yaml").write_text(provider("quick"))
    async with asyncio.timeout(WITHIN), daemon(tmp_path, notifier, told) as system:
        assert (await notifier.readies.get()).startswith("revision 1 serves")
        (tmp_path / "manifests" / "b.yaml").write_text(provider("slow"))
        await gate.reached.wait()
        for _ in range(2):
            told[0].reload.set()
            assert (await notifier.readies.get()).startswith("revision 1 serves")
            await gate.reached.wait()
        gate.open.set()
        while system.reconciler.number < 2:  # noqa: ASYNC110  # what others do is looked at
            await asyncio.sleep(0.01)
