import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from loomd.errors import Permanent, ToolFailed

SECRET = "a-secret-outside"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Return a folder of notes beside what is nobody's business."""
    (tmp_path / "secret").write_text(SECRET)
    folder = tmp_path / "notes"
    (folder / "old").mkdir(parents=True)
    (folder / "today.md").write_text("Buy milk\nBuy bread\nCall Ann\n")
    (folder / "old" / "may.md").write_text("Ann likes MILK\n")
    (folder / ".hidden").write_text("milk")
    return folder


READ: dict[str, object] = {"type": "files", "folder": "notes"}
WRITE: dict[str, object] = {**READ, "write": True, "effects": "write"}


@pytest.mark.usefixtures("notes")
async def test_reading(tool: Any) -> None:
    """A folder is listed, a file read from a line on, and lines are found by words."""
    async with tool(READ) as live:
        assert live.effects == "read"
        assert live.schema.parameters["properties"]["action"]["enum"] == ["list", "read", "search"]
        assert "text" not in live.schema.parameters["properties"]
        assert await live.call({"action": "list"}) == ".hidden\nold/\ntoday.md"
        assert await live.call({"action": "list", "path": "old/"}) == "may.md"
        assert await live.call({"action": "read", "path": "today.md"}) == "Buy milk\nBuy bread\nCall Ann\n"
        assert await live.call({"action": "read", "path": "today.md", "line": 3}) == "Call Ann\n"
        found = "today.md:1: Buy milk\nold/may.md:1: Ann likes MILK"
        assert await live.call({"action": "search", "words": "milk"}) == found
        assert await live.call({"action": "search", "words": "Milk ANN"}) == "old/may.md:1: Ann likes MILK"
        assert await live.call({"action": "search", "words": "milk", "path": "old"}) == "old/may.md:1: Ann likes MILK"
        assert await live.call({"action": "search", "words": "beer"}) == "no line holds beer"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"action": "read", "path": "gone.md"}, 'there is no "gone.md"'),
        ({"action": "read", "path": "old"}, '"old" is no file'),
        ({"action": "read"}, "expected the path of a file"),
        ({"action": "list", "path": "today.md"}, "does not lead through folders"),
        ({"action": "read", "path": "today.md/x"}, "does not lead through folders"),
        ({"action": "read", "path": "today.md", "line": 9}, "has 3 lines, from 9 there is nothing"),
        ({"action": "search"}, "words: expected at least one word"),
        ({"action": "write", "path": "x", "text": "y"}, "action: expected list, read or search, got write"),
        ({"action": "edit", "path": "x", "old": "y"}, "action: expected list, read or search, got edit"),
        ({"action": "remove"}, "the arguments are refused: action"),
        ({"action": "list", "other": 1}, "the arguments are refused: other"),
        ({"action": "read", "path": "a\ud800"}, "path: it holds what is no Unicode"),
        ({"action": "read", "path": "a\0b"}, "expected a path such as"),
        ({"action": "read", "path": "x" * 300}, "File name too long"),
    ],
)
@pytest.mark.usefixtures("notes")
async def test_what_cannot_be_read(tool: Any, arguments: dict[str, object], said: str) -> None:
    """What is not there or makes no sense is a text for the model."""
    async with tool(READ) as live:
        with pytest.raises(ToolFailed) as caught:
            await live.call(arguments)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "old/../../secret",
        "/etc/passwd",
        "link",
        "away/secret",
        "old/up/secret",
        "a\\..\\b",
        "pipe",
        "loop",
    ],
)
@pytest.mark.parametrize("action", ["read", "write", "edit", "list", "search"])
async def test_nothing_outside_is_reached(tool: Any, notes: Path, path: str, action: str) -> None:
    """Neither `..` nor an absolute path nor any link leads out, for whatever is done; a pipe holds nobody up."""
    (notes / "link").symlink_to(notes.parent / "secret")
    (notes / "away").symlink_to(notes.parent)
    (notes / "old" / "up").symlink_to("../..")
    (notes / "loop").symlink_to("loop")
    os.mkfifo(notes / "pipe")
    async with tool(WRITE) as live:
        with pytest.raises(ToolFailed) as caught:
            await live.call({"action": action, "path": path, "words": "a", "text": "x", "old": "a"})
    assert SECRET not in str(caught.value)
    assert str(notes) not in str(caught.value)
    assert (notes.parent / "secret").read_text() == SECRET


async def test_links_are_not_searched(tool: Any, notes: Path) -> None:
    """A search passes by links, hidden and binary files, and ends at its limits."""
    (notes / "link").symlink_to(notes.parent / "secret")
    (notes / "away").symlink_to(notes.parent)
    (notes / "binary").write_bytes(b"milk\0\xff")
    (notes / "large").write_text("milk\n" * 1000)
    async with tool({**READ, "maxFile": "1Ki"}) as live:
        assert await live.call({"action": "search", "words": "secret"}) == "no line holds secret"
        assert await live.call({"action": "search", "words": "buy milk"}) == "today.md:1: Buy milk"
        assert "link" not in await live.call({"action": "list"})
        with pytest.raises(ToolFailed, match='"large" is larger than 1024 bytes'):
            await live.call({"action": "read", "path": "large"})
        with pytest.raises(ToolFailed, match='"binary" is no text'):
            await live.call({"action": "read", "path": "binary"})
    async with tool({**READ, "maxFound": 2}) as live:
        told = await live.call({"action": "search", "words": "milk", "path": "."})
        assert told.endswith("[only the first 2 lines: search for more words]")
    async with tool({**READ, "maxSearched": 1}) as live:
        assert await live.call({"action": "search", "words": "bread"}) == "no line holds bread"


async def test_writing(tool: Any, notes: Path) -> None:
    """A file is written whole with the folders that it needs, and edited where a text stands once."""
    async with tool(WRITE) as live:
        assert live.effects == "write"
        written = await live.call({"action": "write", "path": "new/deep/a.md", "text": "é one\ntwo\n"})
        assert written == '"new/deep/a.md" was written, 10 characters'
        assert (notes / "new" / "deep" / "a.md").read_text() == "é one\ntwo\n"
        edit = {"action": "edit", "path": "new/deep/a.md", "old": "one", "text": "1"}
        assert await live.call(edit) == '"new/deep/a.md" was changed'
        with pytest.raises(ToolFailed, match="once, it stands there 0 times"):
            await live.call(edit)
        assert await live.call({"action": "write", "path": "new/deep/a.md", "text": ""}) == (
            '"new/deep/a.md" was replaced, 0 characters'
        )
        assert await live.call({"action": "read", "path": "new/deep/a.md"}) == "(the file is empty)"
        with pytest.raises(ToolFailed, match='"old" is no file'):
            await live.call({"action": "write", "path": "old", "text": "x"})
        with pytest.raises(ToolFailed, match="expected the path of a file"):
            await live.call({"action": "write", "path": "new/", "text": "x"})
        with pytest.raises(ToolFailed, match="no Unicode"):
            await live.call({"action": "write", "path": "b", "text": "\ud800"})
    assert {path.name for path in notes.glob("*")} == {".hidden", "new", "old", "today.md"}  # noqa: ASYNC240  # a look
    async with tool({**WRITE, "maxFile": "10"}) as live:
        with pytest.raises(ToolFailed, match="expected at most 10 bytes, got 11"):
            await live.call({"action": "write", "path": "b", "text": "x" * 11})


async def test_edits_side_by_side(tool: Any, notes: Path) -> None:
    """Edits of one file that are made at once do not undo each other."""
    (notes / "list.md").write_text("".join(f"<{n}>" for n in range(20)))
    async with tool(WRITE) as live:
        edits = [{"action": "edit", "path": "list.md", "old": f"<{n}>", "text": "x"} for n in range(20)]
        await asyncio.gather(*(live.call(edit) for edit in edits))
    assert (notes / "list.md").read_text() == "x" * 20


async def test_a_hard_link_is_not_written_through(tool: Any, notes: Path) -> None:
    """A file is put in the place of another: what else has the old one's name keeps it."""
    os.link(notes.parent / "secret", notes / "hard")
    async with tool(WRITE) as live:
        await live.call({"action": "write", "path": "hard", "text": "x"})
    assert (notes.parent / "secret").read_text() == SECRET


async def test_the_state_of_the_daemon(tool: Any, tmp_path: Path) -> None:
    """The daemon's own folder is not reached, also when it lies below."""
    async with tool({"type": "files", "folder": "."}) as live:
        assert (tmp_path / "state").is_dir()
        for path in ("state", "state/x"):
            with pytest.raises(ToolFailed, match="is the daemon's own"):
                await live.call({"action": "list", "path": path})


@pytest.mark.parametrize("path", ["./new/a.md", "new//a.md", "new/./a.md"])
@pytest.mark.usefixtures("notes")
async def test_a_path_has_one_spelling(tool: Any, path: str) -> None:
    """What permissions compare with a pattern is what is reached; of other spellings the right one is told."""
    async with tool(WRITE) as live:
        with pytest.raises(ToolFailed, match=r'expected "new/a\.md", got'):
            await live.call({"action": "write", "path": path, "text": "x"})


async def test_a_missing_folder(tool: Any) -> None:
    """A folder that is not there is found when the tool opens."""
    with pytest.raises(Permanent, match='expected a folder "gone" below'):
        async with tool({**READ, "folder": "gone"}):
            pass
