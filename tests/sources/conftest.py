"""A repository to follow, servers that hand it out, and sources that follow it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from loomd.clock import SystemClock
from loomd.events.bus import Bus
from loomd.git.place import Place
from loomd.manifest.object import Ref
from loomd.sources.git import GitSource
from loomd.sources.spec import GitSourceSpec
from tests.sources.recording import Recording
from tests.sources.remotes import HttpRemote, Repository, SshRemote, git_daemon, http_server, ssh_server

REF = Ref("GitSource", "team")


class Following:
    """A git source that delivers to a recording."""

    def __init__(self, state: Path, url: str, **spec: Any) -> None:
        self.kept = Recording()
        self.place = Place(state, REF.namespace, REF.name)
        self.place.enter(prune=True)
        self.events: list[Any] = []
        bus = Bus(SystemClock())
        bus.subscribe(lambda event: self.events.append(event.data))
        self.spec = GitSourceSpec.model_validate({"url": url, **spec}, by_alias=True)
        self.source = GitSource(REF, self.spec, self.kept, bus, self.place, Random(1))

    async def scan(self) -> "Recording":
        """Look once, and return what came of it."""
        await self.source.scan()
        return self.kept

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["Recording", None]:
        """Follow for as long as the context lasts."""
        running = asyncio.ensure_future(self.source.run())
        try:
            yield self.kept
        finally:
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled(), running.result()

    @property
    def revisions(self) -> list[str]:
        """Return the revisions that were delivered."""
        return [one.revision for one in self.kept.deliveries]


Follow = Callable[..., Following]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Return a repository with one manifest on its branch `main`."""
    made = Repository(tmp_path)
    made.publish({"a.yaml": b"a: 1\n"})
    return made


@pytest.fixture
def remote(repository: Repository) -> Generator[str, None, None]:
    """Yield the address of the repository at a `git daemon`."""
    with git_daemon(repository.served) as url:
        yield url


@pytest.fixture
def http(repository: Repository) -> Generator[HttpRemote, None, None]:
    """Yield an HTTP server of the repository."""
    with http_server(repository.served) as made:
        yield made


@pytest.fixture
def ssh(repository: Repository, tmp_path: Path) -> Generator[SshRemote, None, None]:
    """Yield an `sshd` that hands out the repository."""
    with ssh_server(repository.served, tmp_path / "ssh") as made:
        yield made


@pytest.fixture
def follow(tmp_path: Path) -> Follow:
    """Return a maker of sources with one state directory."""

    def make(url: str, **spec: Any) -> Following:
        return Following(tmp_path / "state", url, **spec)

    return make
