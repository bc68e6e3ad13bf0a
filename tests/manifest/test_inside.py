"""Paths in manifests: what they may lead to, and what is said of those that lead elsewhere."""

import os
import re
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loomd.errors import Permanent
from loomd.manifest.inside import inside
from loomd.manifest.load import load
from loomd.manifest.problem import Problems
from loomd.manifest.source import SourceFile

NOBODY = 65534
"""User without any rights of its own."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with all that a path can lead to."""
    outside = tmp_path / "outside"
    (outside / "docs").mkdir(parents=True)
    (outside / "docs" / "a.md").write_text("a")
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "folder" / "file.md").write_text("text")
    (root / "empty").mkdir()
    os.mkfifo(root / "pipe")
    for link, to in {
        "within": "folder/file.md",
        "nothing": "absent",
        "itself": "itself",
        "there": "back",
        "back": "there",
        "secret.md": "../outside/docs/a.md",
        "away": "../outside",
        "device": "/dev/zero",
    }.items():
        (root / link).symlink_to(to)
    return root


@pytest.mark.parametrize("path", ["folder/file.md", "within", "./folder/file.md", "folder/../folder/file.md"])
def test_a_file_below_the_root_is_found(root: Path, path: str) -> None:
    """A link and `..` do no harm as long as they stay inside; what is found has no link in it."""
    assert inside(root, path) == root / "folder" / "file.md"


OUTSIDE = "which leads out of it: move it there"
BAD = [
    pytest.param("absent.md", 'expected .* "absent.md" below .*, got nothing', id="nothing"),
    pytest.param("folder/fiel.md", 'got nothing: did you mean "folder/file.md"', id="misspelled"),
    pytest.param("folder/file.md/x", "got nothing", id="below-a-file"),
    pytest.param("/etc/passwd", "expected a path relative to", id="absolute"),
    pytest.param("a\0b", r'expected a path relative to .*, got "a\\x00b"', id="null"),
    pytest.param("../outside/docs/a.md", OUTSIDE, id="outside"),
    pytest.param("../absent", OUTSIDE, id="outside-nothing"),
    pytest.param("folder/../../root/folder/file.md", OUTSIDE, id="outside-and-back"),
    pytest.param("secret.md", OUTSIDE, id="link-outside"),
    pytest.param("away/docs/a.md", OUTSIDE, id="folder-link-outside"),
    pytest.param("device", OUTSIDE, id="device"),
    pytest.param("nothing", "a symbolic link to nothing", id="broken-link"),
    pytest.param("itself", "a symbolic link that leads back to itself", id="link-to-itself"),
    pytest.param("there", "a symbolic link that leads back to itself", id="circle-of-links"),
    pytest.param("pipe", "a pipe or a device", id="pipe"),
    pytest.param("x" * 300, "got an error: File name too long", id="name-too-long"),
]
FOLDERS = [
    pytest.param("folder", 'expected a file below .*, got the folder "folder"', id="folder"),
    pytest.param(".", 'got the folder "."', id="root"),
    pytest.param("", 'got the folder ""', id="empty"),
]


@pytest.mark.parametrize(("path", "message"), [*BAD, *FOLDERS])
def test_what_is_no_file_below_the_root_is_refused(root: Path, path: str, message: str) -> None:
    """The message names the path on one line, what was expected and what is there."""
    with pytest.raises(Permanent, match=message) as caught:
        inside(root, path)
    assert len(str(caught.value).splitlines()) == 1


def test_no_name_outside_the_root_is_guessed(root: Path) -> None:
    """A guess never tells what there is in a folder that a link leads out to."""
    with pytest.raises(Permanent) as caught:
        inside(root, "away/doc")
    assert "did you mean" not in str(caught.value)


SPECS = {
    "Tool": "spec: {{type: python, file: {path}, function: f}}",
    "Skill": "spec: {{file: {path}}}",
    "KnowledgeBase": "spec: {{embedder: e, sources: [{{path: {path}}}]}}",
}
EMBEDDER = "apiVersion: loomd.dev/v1\nkind: Embedder\nmetadata: {name: e}\nspec: {type: hash}\n---\n"


def refused(root: Path, kind: str, path: str) -> list[str]:
    """Return what is wrong with an object that names a path."""
    quoted = '"' + path.replace("\0", "\\0") + '"'
    head = f"{EMBEDDER}apiVersion: loomd.dev/v1\nkind: {kind}\nmetadata: {{name: x}}\n"
    text = head + SPECS[kind].format(path=quoted) + "\n"
    with pytest.raises(Problems) as caught:
        load([SourceFile(root, "m.yaml", text.encode())])
    at = text.splitlines()[-1].index(quoted) + 1
    assert {(one.position.line, one.position.column) for one in caught.value.problems} == {(9, at)}
    return [f"{one.code} {one.message} {one.hint}" for one in caught.value.problems]


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize(("path", "message"), BAD)
def test_every_kind_refuses_it_at_its_place(root: Path, kind: str, path: str, message: str) -> None:
    """Whatever names a file is refused at validation, at the path, whichever kind it stands in."""
    (told,) = refused(root, kind, path)
    assert told.startswith("bad-file")
    parts = re.split(": (?=did|move|File)", message)
    assert all(re.search(part, told) for part in parts), told


def test_a_folder_is_no_tool_and_an_empty_one_no_knowledge(root: Path) -> None:
    """Folders are for knowledge, and only those in which there is something to know."""
    assert "got the folder" in refused(root, "Skill", "folder")[0]
    assert (
        "that fits **/*.md or **/*.txt or **/*.pdf or **/*.docx or **/*.html, got none"
        in refused(root, "KnowledgeBase", "empty")[0]
    )


@contextmanager
def unprivileged() -> Generator[Path, None, None]:
    """Give a folder of a user who is not the superuser, and be that user, or the one that runs the tests."""
    with tempfile.TemporaryDirectory(prefix="loomd-test-") as name:
        before = os.geteuid()
        if before == 0:
            os.chown(name, NOBODY, NOBODY)
            os.seteuid(NOBODY)
        try:
            yield Path(name)
        finally:
            os.seteuid(before)


@pytest.mark.parametrize("kind", ["Tool", "Skill"])
def test_a_file_that_may_not_be_read_is_told(kind: str) -> None:
    """A file without permission is told with the reason, and so is one in a folder without it."""
    with unprivileged() as root:
        (root / "shut").mkdir()
        for path in ("file.md", "shut/file.md"):
            (root / path).touch()
        (root / "file.md").chmod(0)
        (root / "shut").chmod(0)
        assert '"file.md" cannot be read: Permission denied' in refused(root, kind, "file.md")[0]
        assert "got an error Permission denied" in refused(root, kind, "shut/file.md")[0]
        (root / "shut").chmod(0o700)
