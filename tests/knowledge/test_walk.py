"""Which files patterns and `.gitignore` files leave, compared with git itself."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loomd.errors import Permanent
from loomd.knowledge.walk import Selection, walk

ALL = Selection(["**/*"], [])


def fill(root: Path, *paths: str) -> None:
    """Write files that say their own path; a text after `=` is the content."""
    for one in paths:
        path, _, text = one.partition("=")
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text or path)


def found(root: Path, folder: str = ".", selection: Selection = ALL) -> list[str]:
    """Return the files that are found, without those that say what is left out."""
    return sorted(path for path in walk(root, root / folder, selection) if not path.endswith(".gitignore"))


@pytest.mark.parametrize(
    ("include", "exclude", "wanted"),
    [
        (["**/*.md"], [], ["a.md", "b/c.md", "b/d/e.md"]),
        (["*.md"], [], ["a.md"]),
        (["b/*.md"], [], ["b/c.md"]),
        (["b/**"], [], ["b/c.md", "b/d/e.md", "b/d/f.txt"]),
        (["**/*.md"], ["b/**"], ["a.md"]),
        (["**/*.md"], ["**/d/*"], ["a.md", "b/c.md"]),
        (["**/[!a-c].?*"], [], ["b/d/e.md", "b/d/f.txt"]),
        (["b/**/d/**/*.md"], [], ["b/d/e.md"]),
        (["./a.md", "**/f.*"], [], ["a.md", "b/d/f.txt"]),
        (["**/[x"], [], []),
    ],
)
def test_patterns(tmp_path: Path, include: list[str], exclude: list[str], wanted: list[str]) -> None:
    """`*` and `?` stay within a name, `**` goes over folders, and what is excluded is out."""
    fill(tmp_path, "a.md", "b/c.md", "b/d/e.md", "b/d/f.txt", ".git/x.md")
    assert found(tmp_path, selection=Selection(include, exclude)) == wanted


def test_what_git_ignores_is_left_out(tmp_path: Path) -> None:
    """Files below count before those above; a folder that is left out is not entered; it can be switched off."""
    fill(tmp_path, "x/a.md", "x/b.tmp", "x/drafts/c.md", "x/keep/d.tmp", "x/keep/.gitignore=!*.tmp", "y/a.md")
    fill(tmp_path, ".gitignore=*.tmp\ndrafts/\n/y\n# note\n")
    assert found(tmp_path) == ["x/a.md", "x/keep/d.tmp"]
    assert found(tmp_path, "x") == ["x/a.md", "x/keep/d.tmp"]
    assert len(found(tmp_path, selection=Selection(["**/*"], [], gitignore=False))) == 5


def test_what_is_named_is_read(tmp_path: Path) -> None:
    """A file above that leaves all of the folder out counts for nothing; others do."""
    fill(tmp_path, ".gitignore=/built/\n", "built/sub/a.md", "built/sub/b.tmp", "built/.gitignore=*.tmp")
    assert found(tmp_path, "built") == found(tmp_path, "built/sub") == ["built/sub/a.md"]
    assert found(tmp_path) == []


def test_a_file_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    """Its name and the way out are in the message."""
    fill(tmp_path, ".gitignore=a\n!\n", "a.md")
    with pytest.raises(Permanent, match=r"\.gitignore cannot be used .*set gitignore to false"):
        walk(tmp_path, tmp_path, ALL)


NAMES = st.sampled_from(["a", "b", "ab", "c.md"])
PATHS = st.lists(st.lists(NAMES, min_size=1, max_size=3).map("/".join), min_size=1, max_size=8, unique=True)
RULES = st.lists(
    st.sampled_from(["a", "/a", "b/", "*.md", "!c.md", "a/b", "**/ab", "a/**", "!a/b", "[ab]", "!*"]), max_size=4
)


@settings(max_examples=60, deadline=None)
@given(PATHS, RULES, RULES)
def test_it_is_as_git_says(
    tmp_path_factory: pytest.TempPathFactory, paths: list[str], top: list[str], in_a: list[str]
) -> None:
    """Whatever files and rules there are: what is found is what git would add."""
    root = tmp_path_factory.mktemp("tree")
    folders = {path[:at] for path in paths for at, mark in enumerate(path) if mark == "/"}
    fill(root, *(f"{path}=x" for path in paths if path not in folders), f".gitignore={chr(10).join(top)}\n")
    if "a" in folders:
        fill(root, f"a/.gitignore={chr(10).join(in_a)}\n")
    git = ["git", "-c", "core.excludesFile=", "-C", str(root)]
    subprocess.run([*git, "init", "-q"], check=True)  # noqa: S603  # git on a folder of our own
    listed = ["ls-files", "--others", "--exclude-standard", "-z"]
    done = subprocess.run([*git, *listed], check=True, capture_output=True)  # noqa: S603  # the same
    wanted = [path for path in done.stdout.decode().split("\0") if path and not path.endswith(".gitignore")]
    assert found(root) == sorted(wanted)
