"""What a new process makes of what the old one left: whole, broken, damaged, or killed in the middle."""

import asyncio
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from loomd.errors import Temporary
from loomd.events.event import ConfigLoaded
from loomd.manifest.delivery import Delivery
from loomd.manifest.object import Ref
from loomd.manifest.problem import Problems
from loomd.manifest.source import SourceFile
from loomd.reconcile.stage import LAST_GOOD
from tests.reconcile.conftest import Make, Open, Seen

ONE, TWO = Ref("Provider", "one"), Ref("Provider", "two")


def text_of(seen: Seen, ref: Ref = ONE) -> str:
    """Return what a scripted provider answers."""
    return str(seen.reconciler.topology.snapshot.objects[ref].spec.replies[0].text)


def harm(folder: Path, statement: str, *values: object) -> None:
    """Change a row behind the store's back."""
    with closing(sqlite3.connect(folder / "state" / "loomd.db")) as db, db:
        assert db.execute(statement, values).rowcount
    db.close()


async def test_broken_files_at_the_start(opened: Open, provider: Make, tmp_path: Path) -> None:
    """The stored set serves, the broken one is refused and told until it is mended; nothing is stored meanwhile."""
    broken = SourceFile(tmp_path, "one.yaml", b"kind: [")
    async with opened() as seen:
        await seen.apply("/a", [provider("one", "good")], type="directory", revision="r1")
    async with opened() as seen:
        await seen.reconciler.restore()
        assert not seen.reconciler.stale
        with pytest.raises(Problems):
            await seen.apply("/a", [broken], type="directory", revision="r2")
        assert (seen.reconciler.stale, text_of(seen), seen.reconciler.number) == (True, "good", 1)
        assert ONE in seen.reconciler.topology.live
        assert "one.yaml:" in seen.reconciler.last_error
        await seen.apply("/a", [provider("one", "better")], type="directory", revision="r3")
        assert (seen.reconciler.stale, text_of(seen), seen.reconciler.number) == (False, "better", 2)


async def test_nothing_opens_before_it_is_to(opened: Open, provider: Make) -> None:
    """A loaded reconciler knows what served and serves nothing; the same files open it without a new revision."""
    async with opened() as seen:
        await seen.apply("a", [provider("one")])
        revision = seen.reconciler.revision
    async with opened() as seen:
        assert (seen.reconciler.number, seen.reconciler.revision) == (1, revision)
        assert not seen.reconciler.topology.live
        plan = await seen.apply("a", [provider("one")])
        assert plan.empty
        assert ONE in seen.reconciler.topology.live
        assert seen.reconciler.number == 1
        loaded = [event.data.changes for event in seen.events if isinstance(event.data, ConfigLoaded)]
        assert loaded == [()]


async def test_a_change_of_one_source_keeps_the_others(opened: Open, provider: Make) -> None:
    """What other sources declared is part of the first change of a new process, also when it was not restored."""
    async with opened() as seen:
        await seen.apply("a", [provider("one")])
        await seen.apply("b", [provider("two")])
    async with opened() as seen:
        plan = await seen.apply("b", [provider("two", "new")])
        assert [str(change) for change in plan.effective] == ["Provider/two changed: spec.replies"]
        assert set(seen.reconciler.topology.live) == {ONE, TWO}


async def test_what_could_not_open_opens_later(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A key that was missing at the start, which the log tells, may come: then the same files serve, as before."""
    text = (
        b"apiVersion: loomd.dev/v1\nkind: Provider\nmetadata: {name: one}\n"
        b"spec: {type: openai, model: m, apiKey: {valueFrom: {env: LOOMD_TEST_LATE_KEY}}}\n"
    )
    file = SourceFile(tmp_path, "one.yaml", text)
    monkeypatch.setenv("LOOMD_TEST_LATE_KEY", "k")
    async with opened() as seen:
        await seen.apply("/a", [file], type="directory", revision="r1")
        uid = seen.reconciler.status(ONE).uid
    monkeypatch.delenv("LOOMD_TEST_LATE_KEY")
    async with opened() as seen:
        await seen.reconciler.restore()
        assert "LOOMD_TEST_LATE_KEY" in seen.reconciler.rejected[LAST_GOOD][0]
        (logged,) = [one.getMessage() for one in caplog.records if one.name == "loomd.reconcile"]
        assert logged.splitlines()[1:] == list(seen.reconciler.rejected[LAST_GOOD])
        ready = next(one for one in seen.reconciler.status(ONE).conditions if one.type == "Ready")
        assert (ready.status, ready.reason) == ("False", "NotOpen")
        monkeypatch.setenv("LOOMD_TEST_LATE_KEY", "k")
        await seen.apply("/a", [file], type="directory", revision="r1")
        assert not seen.reconciler.stale
        assert (seen.reconciler.number, seen.reconciler.status(ONE).uid) == (1, uid)
        assert ONE in seen.reconciler.topology.live


async def test_damaged_contents_are_told_and_mended(opened: Open, provider: Make, tmp_path: Path) -> None:
    """Bytes that were not stored do not serve; what the source delivers does, and the next process finds all well."""
    async with opened() as seen:
        await seen.apply("/a", [provider("one")], type="directory", revision="r1")
        await seen.apply("b", [provider("two")])
        uid = seen.reconciler.status(ONE).uid
    harm(tmp_path, "UPDATE blobs SET data = x'00' WHERE CAST(data AS TEXT) LIKE ?", "%name: one%")
    async with opened() as seen:
        await seen.reconciler.restore()
        assert "one.yaml (/a) are damaged" in seen.reconciler.rejected[LAST_GOOD][0]
        assert not seen.reconciler.topology.live
        await seen.apply("/a", [provider("one")], type="directory", revision="r1")
        assert set(seen.reconciler.topology.live) == {ONE, TWO}  # of b nothing was damaged
        assert not seen.reconciler.stale
        assert (seen.reconciler.number, seen.reconciler.status(ONE).uid) == (3, uid)
    async with opened() as seen:
        await seen.reconciler.restore()
        assert not seen.reconciler.stale
        assert set(seen.reconciler.topology.live) == {ONE, TWO}


async def test_damaged_records_begin_anew(
    opened: Open, provider: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A record of a source or the conditions of an object that cannot be read are told, and stop nothing."""
    async with opened() as seen:
        await seen.apply("/a", [provider("one")], type="directory", revision="r1")
    harm(tmp_path, "UPDATE sources SET body = x'ff'")
    harm(tmp_path, "UPDATE objects SET conditions = x'ff'")
    async with opened() as seen:
        await seen.reconciler.restore()
        assert ONE in seen.reconciler.topology.live
        assert "what is stored of source /a is damaged" in caplog.text
        assert "the stored conditions of Provider/one are damaged" in caplog.text
        await seen.apply("/a", [provider("one", "new")], type="directory", revision="r2")
        assert [(state.name, state.type) for state in seen.reconciler.sources()] == [("/a", "directory")]
    caplog.clear()
    async with opened() as seen:
        await seen.reconciler.restore()
        assert text_of(seen) == "new"
    assert "damaged" not in caplog.text


async def test_a_file_that_changed_while_nothing_served(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is too large to be kept makes a revision of its own, once, as soon as it can be stored; then nothing new."""
    monkeypatch.setattr("loomd.manifest.files.MAX_KEPT", 10)
    tool = "apiVersion: loomd.dev/v1\nkind: Tool\nmetadata: {name: add}\n"
    files = [SourceFile(tmp_path, "t.yaml", f"{tool}spec: {{type: python, file: add.py, function: add}}\n".encode())]
    code = tmp_path / "add.py"
    code.write_text('def add() -> str:\n    """Add."""\n    return "1"\n')
    async with opened() as seen:
        await seen.apply("a", files)
        before = seen.reconciler.revision
    code.write_text('def add() -> str:\n    """Add."""\n    return "2"\n')
    async with opened() as seen:
        store = seen.services.store
        with monkeypatch.context() as full:

            async def refuse(_: object) -> None:
                raise Temporary("no space")

            full.setattr(store, "commit", refuse)
            await seen.reconciler.restore()
            assert seen.reconciler.number == 1
        assert Ref("Tool", "add") in seen.reconciler.topology.live
        await seen.reconciler.apply(Delivery("a", tuple(files)))
        newest, first = await store.revisions()
        assert (newest.number, newest.revision) == (2, seen.reconciler.revision)
        assert (first.revision, newest.revision != before) == (before, True)
        assert newest.changes == ("Tool/add changed: a file that it names has other contents",)
    for _ in range(2):
        async with opened() as seen:
            await seen.reconciler.restore()
            assert seen.reconciler.number == 2
            assert len(await seen.services.store.revisions()) == 2
    code.write_text('def add() -> str:\n    """Add."""\n    return "3"\n')
    async with opened() as seen:
        await seen.reconciler.restore()
        (newest, *_) = await seen.services.store.revisions()
        assert (newest.number, newest.cause, newest.revision) == (3, "restore", seen.reconciler.revision)
        loaded = [event.data for event in seen.events if isinstance(event.data, ConfigLoaded)]
        assert [(one.number, one.cause) for one in loaded] == [(3, "restore")]


KILLED = """
import asyncio, sys
from pathlib import Path
from loomd.daemon import Settings, open_system
from loomd.manifest.delivery import Delivery
from loomd.manifest.source import SourceFile

folder = Path(sys.argv[1])
TEXT = '''
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: one}
spec: {type: scripted, replies: [{text: "NUMBER", times: null}]}
---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: two}
spec: {type: scripted, replies: [{text: "NUMBER", times: null}]}
'''

async def main():
    async with open_system(Settings(folder / "state", folder / "models", folder / "s")) as system:
        reconciler = system.reconciler
        await reconciler.restore()
        while True:
            number = reconciler.number + 1
            if number % 4 == 0:
                await reconciler.undo()
            else:
                file = SourceFile(folder, "all.yaml", TEXT.replace("NUMBER", str(number)).encode())
                await reconciler.apply(Delivery("/a", (file,), "directory", f"r{number}"))
            print(reconciler.number, flush=True)

asyncio.run(main())
"""


async def test_killed_while_it_changes(opened: Open, tmp_path: Path) -> None:
    """Kill -9 at any moment of applies and undos: a new process serves a whole revision, and knows who is suspended."""
    rng = random.Random(5)
    for _ in range(5):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", KILLED, str(tmp_path), stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        last = 0
        for _ in range(rng.randint(1, 12)):
            last = int(await child.stdout.readline())
        await asyncio.sleep(rng.random() / 50)  # not at an acknowledgement, but anywhere in the next changes
        child.send_signal(signal.SIGKILL)
        rest = (await child.stdout.read()).split()
        await child.wait()
        acknowledged = max([last, *(int(line) for line in rest)])
        async with opened() as seen:
            await seen.reconciler.restore()
            assert not seen.reconciler.stale
            newest = (await seen.reconciler.history())[0]
            assert newest.number == seen.reconciler.number >= acknowledged
            assert newest.revision == seen.reconciler.revision
            assert text_of(seen) == text_of(seen, TWO) == str(newest.number - 2 * (newest.cause == "undo"))
            for ref, item in seen.reconciler.topology.snapshot.objects.items():
                record = seen.reconciler._stage.statuses.known.records[ref]
                assert (record.digest, record.version) == (item.digest, newest.number)
                assert record.generation == newest.number
            assert seen.reconciler.source("/a").suspended == (newest.cause == "undo")
