"""A patch is what git takes, whatever the lines and the name of a file are."""

from pathlib import Path

import pytest

from loomd.cli.patch import patch_of
from tests.sources.remotes import run

FILES = {
    "lines": (b"a\nb\nc\n", b"a\nx\nc\nd\n"),
    "no line break at the end": (b"a\nb", b"a\nc"),
    "a line break more": (b"a\nb", b"a\nb\nc\n"),
    "line breaks of Windows": (b"a\r\nb\r\n", b"a\r\nx\r\n"),
    "other line breaks": ("a\u2028b\x0cc\rd\n".encode(), "a\u2028x\x0cc\rd\n".encode()),
    "not text": (b"a\xff\n", b"b\xff\n"),
}


@pytest.mark.parametrize("name", ["a.yaml", "team of ada/\u00e4 b.yaml"])
@pytest.mark.parametrize(("before", "after"), FILES.values(), ids=FILES)
def test_git_takes_it(name: str, before: bytes, after: bytes, tmp_path: Path) -> None:
    """In a repository, in a folder of one, and where there is none."""
    place = tmp_path / name
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(before)
    patch = patch_of(name, before, after)
    run("git", "apply", "--whitespace=nowarn", "-", folder=tmp_path, feed=patch)
    assert place.read_bytes() == after
    assert patch_of(name, after, after) == b""


def test_it_is_taken_in_a_folder_of_a_repository(tmp_path: Path) -> None:
    """Paths start there, as they do without a repository."""
    run("git", "init", "--quiet", folder=tmp_path)
    folder = tmp_path / "team"
    folder.mkdir()
    (folder / "a.yaml").write_bytes(b"a\n")
    run("git", "apply", "-", folder=folder, feed=patch_of("a.yaml", b"a\n", b"b\n"))
    assert (folder / "a.yaml").read_bytes() == b"b\n"
