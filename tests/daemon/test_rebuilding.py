"""`loomd knowledge rebuild --embed` over kill -9 of the daemon: the old vectors serve until the new ones are whole."""

import json
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.daemon.process import Daemon
from tests.knowledge.vectors_service import VectorService, vector_service

MANIFEST = """
apiVersion: loomd.dev/v1
kind: Embedder
metadata: {name: e}
spec: {type: openai, model: m, dimension: 4, baseUrl: "URL", batch: 1, calls: 1, deadline: 1m}
---
apiVersion: loomd.dev/v1
kind: KnowledgeBase
metadata: {name: kb}
spec: {embedder: e, sources: [{path: docs}], retrieval: {topK: 20, mode: keyword}}
"""
DOCUMENTS = 12
OLD, NEW = "[1,0,0,0]", "[0,1,0,0]"


class House:
    """A daemon with a knowledge base whose vectors are to be made anew."""

    def __init__(self, home: Path, service: VectorService) -> None:
        self.daemon = Daemon(home)
        self.service = service
        docs = self.daemon.folder / "docs"
        docs.mkdir()
        for at in range(DOCUMENTS):
            (docs / f"{at}.md").write_text(f"Document number {at}.\n")
        (self.daemon.folder / "all.yaml").write_text(MANIFEST.replace("URL", service.url))
        service.vector = json.loads(OLD, parse_int=str)
        self.state = home / "state" / "knowledgebase" / "default" / "kb"
        self.asked: list[CompletedProcess[str]] = []

    def found(self) -> int:
        """Return how many passages a search finds."""
        return len(
            self.daemon.client.get("namespaces", "default", "knowledgebases", "kb", "search", q="number")["items"]
        )

    def generation(self) -> dict[str, str]:
        """Return what is written down of generations."""
        path = self.state / "generation.json"
        return json.loads(path.read_bytes()) if path.exists() else {}

    def vectors(self) -> list[list[bytes]]:
        """Return the vectors of passages in each store, the one that was changed first at the beginning."""
        stores: list[list[bytes]] = []
        for path in sorted(self.state.glob("*.db"), key=lambda one: one.stat().st_mtime):
            with closing(sqlite3.connect(path)) as db:
                assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                stores.append([data for (data,) in db.execute("SELECT data FROM vector")])
        return stores

    def passages(self) -> list[str]:
        """Return the passages that the service was asked about."""
        return [text for text in self.service.texts if "\n" in text]

    def rebuild(self) -> threading.Thread:
        """Ask for new vectors, as a person does at a terminal."""

        def ask() -> None:
            self.asked.append(self.daemon.loomd("knowledge", "rebuild", "kb", "--embed"))

        asking = threading.Thread(target=ask)
        asking.start()
        return asking

    def kill(self) -> None:
        """End the daemon as nothing could prepare it for."""
        self.daemon.tell(signal.SIGKILL)
        self.daemon.process.wait()


@pytest.fixture
def house(tmp_path: Path) -> Any:
    """Yield a daemon whose knowledge base has old vectors, at a service that makes new ones."""
    with vector_service() as service:
        made = House(tmp_path, service)
        made.daemon.start()
        made.daemon.until(lambda: made.found() == DOCUMENTS)
        service.vector = json.loads(NEW, parse_int=str)
        service.texts.clear()
        yield made
        made.daemon.kill()


def until_new(house: House) -> None:
    """Wait until new vectors serve, and see that they are whole and the old ones are still there for a way back."""
    house.daemon.until(lambda: bool(house.generation().get("serves")) and "wanted" not in house.generation())
    assert house.found() == DOCUMENTS
    stores = house.vectors()
    assert sorted(len(one) for one in stores) == [DOCUMENTS, DOCUMENTS]
    assert [len(set(one)) for one in stores] == [1, 1]
    assert stores[0][0] != stores[1][0]
    assert set(house.passages()) == {f"{at}.md\nDocument number {at}." for at in range(DOCUMENTS)}


def test_killed_while_embedding_again(house: House) -> None:
    """Killed again and again, it goes on by itself each time; what a service made is asked for once more at most."""
    service, kills = house.service, 0
    service.room = 0
    asking = house.rebuild()
    house.daemon.until(lambda: service.refused > 0)
    for room in (1, 5, 9):
        house.kill()
        kills += 1
        if kills == 1:
            asking.join()
            (told,) = house.asked
            assert told.returncode == 2
            assert "cannot be asked" in told.stderr
        assert house.generation().get("wanted")
        service.room, service.refused = room, 0
        house.daemon.start()
        house.daemon.until(lambda: service.refused > 0)
        assert house.found() == DOCUMENTS
        assert not house.generation().get("serves")
    house.kill()
    kills += 1
    service.room = 1 << 20
    house.daemon.start()
    until_new(house)
    assert DOCUMENTS <= len(house.passages()) <= DOCUMENTS + kills


@pytest.mark.parametrize("moment", ["wanted", "serves"])
def test_killed_when_it_is_written_down(house: House, moment: str) -> None:
    """A kill as soon as the wish, or what serves, is on the disk: the new vectors come, and come once."""
    house.service.room = 0 if moment == "wanted" else 1 << 20
    asking = house.rebuild()
    while not house.generation().get(moment):
        assert asking.is_alive()
    house.kill()
    asking.join()
    house.service.room = 1 << 20
    house.daemon.start()
    until_new(house)
    asked = len(house.passages())
    assert asked == DOCUMENTS
    house.kill()
    house.daemon.start()
    house.daemon.until(lambda: house.found() == DOCUMENTS)
    assert len(house.passages()) == asked
