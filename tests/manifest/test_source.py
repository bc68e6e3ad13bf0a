"""Reading files: what belongs to a folder, and what is refused."""

import os
from pathlib import Path

import pytest

from loomd.errors import NotFound
from loomd.manifest.problem import Problems
from loomd.manifest.source import MAX_BYTES, read_folder, read_path


def test_folder_gives_its_manifests_in_order(tmp_path: Path) -> None:
    """YAML files of all subfolders are read in order; hidden files, swap files and others are not."""
    for name in ("b.yaml", "a/z.yml", ".hidden.yaml", ".git/x.yaml", "b.yaml~", ".b.yaml.swp", "c.json", "d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [one.path for one in read_folder(tmp_path)] == ["a/z.yml", "b.yaml"]
    assert read_folder(tmp_path)[1].name == str(tmp_path / "b.yaml")


def test_named_file_may_be_json(tmp_path: Path) -> None:
    """A file that is named is read whatever its suffix; its folder is the root."""
    (tmp_path / "x.json").write_text("{}")
    (found,) = read_path(tmp_path / "x.json")
    assert (found.root, found.path, found.data) == (tmp_path, "x.json", b"{}")


def test_standard_input() -> None:
    """`-` is what was read from standard input."""
    (found,) = read_path("-", b"a: 1")
    assert (found.name, found.data) == ("<stdin>", b"a: 1")


def test_links_may_not_leave_the_root(tmp_path: Path) -> None:
    """A link to a file inside is read, as mounted configuration has them; links to files outside are refused, all."""
    root = tmp_path / "root"
    (root / "..data").mkdir(parents=True)
    (root / "..data" / "in.yaml").write_text("in")
    (root / "in.yaml").symlink_to("..data/in.yaml")
    assert [one.data for one in read_folder(root)] == [b"in"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "out.yaml").write_text("out")
    (root / "out.yaml").symlink_to(tmp_path / "out" / "out.yaml")
    (root / "over.yaml").symlink_to(tmp_path / "out" / "out.yaml")
    with pytest.raises(Problems) as caught:
        read_folder(root)
    assert [Path(one.position.file).name for one in caught.value.problems] == ["out.yaml", "over.yaml"]


@pytest.mark.parametrize("name", ["linked", os.fsdecode(b"\xe9")])
def test_a_link_to_a_folder_outside_is_left_out(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """That is said, also of a name that is not UTF-8, and the rest is read."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "in.yaml").write_text("in")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "out.yaml").write_text("out")
    (root / name).symlink_to(tmp_path / "out")
    assert [one.data for one in read_folder(root)] == [b"in"]
    (told,) = caplog.messages
    assert "the symbolic link leaves" in told
    told.encode()


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    """A named pipe, a dangling link and a file that is too large are problems, and nothing waits for a writer."""
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "gone.yaml").symlink_to("nowhere.yaml")
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(Problems) as caught:
        read_folder(tmp_path)
    assert [one.code for one in caught.value.problems] == ["unreadable", "too-large", "unreadable"]


def test_absent_path_is_not_found(tmp_path: Path) -> None:
    """A path that does not exist is named."""
    with pytest.raises(NotFound, match="absent"):
        read_path(tmp_path / "absent")


@pytest.mark.parametrize("name", [b"\xe9.yaml", b"\xe9.yml"])
def test_a_name_that_is_not_utf_8_is_told(name: bytes, tmp_path: Path) -> None:
    """The problem has the name with escapes, so that it can be printed and stored."""
    (tmp_path / os.fsdecode(name)).write_text("{}\n")
    with pytest.raises(Problems) as raised:
        read_folder(tmp_path)
    (problem,) = raised.value.problems
    assert "\\udce9" in str(problem)
    assert "not text" in str(problem)
    str(problem).encode()
