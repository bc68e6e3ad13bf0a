"""Folders of skills: what is found in them, and that nothing outside is read."""

import os
from pathlib import Path
from typing import Any

import pytest

from loomd.errors import Permanent
from loomd.skills import folder as module
from loomd.skills.folder import find_folders, list_files, read_resource


def test_skills_are_found_at_any_depth(write: Any, tmp_path: Path) -> None:
    """Below a skill's folder no further one is found, and hidden folders and those to leave out are passed over."""
    for path in ("s/b", "s/a", "s/group/c", "s/a/assets/example", "s/.git/d", "s/node_modules/e", "s/left-out"):
        write(path)
    found = find_folders(tmp_path, "s", ["left-out"])
    assert [(one.name, one.shown) for one in found] == [("a", "s/a"), ("b", "s/b"), ("c", "s/group/c")]
    assert [one.shown for one in find_folders(tmp_path, "./s/../s/a/")] == ["s/a"]


def test_links_inside_are_followed(write: Any, tmp_path: Path) -> None:
    """Programs link skills into folders of their own: a link has the name that it was given, and is taken once."""
    write(".agents/skills/pdf")
    (tmp_path / ".claude/skills").mkdir(parents=True)
    (tmp_path / ".claude/skills/pdf").symlink_to("../../.agents/skills/pdf")
    (tmp_path / ".claude/skills/loop").symlink_to("../skills")
    (found,) = find_folders(tmp_path, ".claude/skills")
    assert (found.name, found.place) == ("pdf", (tmp_path / ".agents/skills/pdf").resolve())
    assert find_folders(tmp_path, ".agents")[0].place == found.place


@pytest.mark.parametrize(
    ("path", "message"),
    [
        pytest.param("gone", "expected a folder", id="missing"),
        pytest.param("empty", "expected a SKILL.md in", id="none"),
        pytest.param("../x", "leads out of it", id="leaves"),
        pytest.param("s/a/SKILL.md", "which is a file", id="file"),
        pytest.param("out", "leads out of it", id="link-out"),
    ],
)
def test_folders_that_cannot_be_used(path: str, message: str, write: Any, tmp_path: Path) -> None:
    """The message says what is wrong and what to do."""
    root = tmp_path / "root"
    write("root/s/a")
    write("outside/b")
    (root / "empty").mkdir()
    (root / "out").mkdir()
    (root / "out/b").symlink_to(tmp_path / "outside/b")
    with pytest.raises(Permanent, match=message):
        find_folders(root, path)


def test_too_many_folders(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that holds everything is not looked through."""
    write("s/a")
    monkeypatch.setattr(module, "MAX_FOLDERS", 1)
    with pytest.raises(Permanent, match="name a smaller folder"):
        find_folders(tmp_path, "s")


def test_files_are_listed(write: Any) -> None:
    """All files count but the document, hidden ones and what Python leaves behind."""
    paths = ("references/b.md", "scripts/run.py", "a.txt", ".hidden", ".git/x", "__pycache__/y", "assets/SKILL.md")
    place = write("s", **dict.fromkeys(paths, "x"))
    (place / "same.txt").symlink_to("a.txt")
    assert list_files(place, 10) == ["a.txt", "assets/SKILL.md", "references/b.md", "same.txt", "scripts/run.py"]
    with pytest.raises(Permanent, match=r"at most 4 files in \"s\" \(spec\.maxFiles\)"):
        list_files(place, 4)


def test_a_name_that_is_not_utf_8_is_refused(write: Any) -> None:
    """It could not be kept with a revision; the message can be written down."""
    place = write("s")
    (place / os.fsdecode(b"\xe9.txt")).write_text("x")
    with pytest.raises(Permanent, match=r'"\\udce9\.txt" of "s" has a name that is not UTF-8 text'):
        list_files(place, 10)


def test_links_out_are_refused(write: Any, tmp_path: Path) -> None:
    """A link to a file outside is refused, also one within the root; a linked folder is not looked into."""
    place = write("s")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "more").mkdir()
    (tmp_path / "more/x").write_text("secret")
    (place / "folder").symlink_to("../more")
    assert list_files(place, 10) == []
    (place / "file.txt").symlink_to("../secret.txt")
    with pytest.raises(Permanent, match="a link out of the folder: copy the file"):
        list_files(place, 10)


def test_a_file_is_read(write: Any) -> None:
    """Its text comes back, cut at a limit that does not break a character."""
    place = write("s", **{"a.md": "äöü", "b.bin": "x\0y"})
    assert read_resource(place, "a.md", 100) == "äöü"
    assert read_resource(place, "a.md", 3) == "ä\n[cut: 3 of 6 bytes]"
    (place / "c.png").write_bytes(b"\x89PNG\xff")
    for path in ("b.bin", "c.png"):
        with pytest.raises(Permanent, match="is not text"):
            read_resource(place, path, 100)
    with pytest.raises(Permanent, match="cannot be read"):
        read_resource(place, "gone", 100)


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../secret", "link", "folder/secret"])
def test_nothing_outside_is_read(path: str, write: Any, tmp_path: Path) -> None:
    """Neither a path nor a link that came later leads out of the folder."""
    place = write("s", **{"a/b": "x"})
    (tmp_path / "secret").write_text("secret")
    (place / "link").symlink_to(tmp_path / "secret")
    (place / "folder").symlink_to(tmp_path)
    with pytest.raises(Permanent, match="leads out"):
        read_resource(place, path, 100)


def test_a_pipe_does_not_hang(write: Any) -> None:
    """What is no file is read as the nothing that is in it."""
    place = write("s")
    os.mkfifo(place / "pipe")
    assert read_resource(place, "pipe", 100) == ""
