"""The documentation says what is: its manifests are valid, its links lead somewhere, and nothing foreign is in it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from loomd.errors import LoomdError
from loomd.manifest.load import load
from loomd.manifest.problem import Problems
from loomd.manifest.source import SourceFile
from tests.house.generate import stale

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "configs").glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").glob("*/README.md"),
    ]
)
BLOCK = re.compile(r"^```yaml(?P<mark>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]\n]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ +(?P<text>.+)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
FORBIDDEN = re.compile(
    r"\b(TODO|FIXME|XXX|pypi|pythonhosted|test\.pypi|npmjs|crates\.io|lorem ipsum)\b|/work/|/root/|/tmp/", re.IGNORECASE
)
FILES = {"documents": None, "tools/fees.py": "def late_fee(days: int) -> float:\n    return days * 0.2\n"}
"""What the manifests of the documentation name besides themselves: folders (None) and files."""


def name(path: Path) -> str:
    """Return the path of a page below the project."""
    return path.relative_to(ROOT).as_posix()


def blocks(*, wrong: bool) -> Iterator[object]:
    """Yield page and text of every manifest in the documentation, or of every one that is marked as wrong."""
    for path in PAGES:
        for number, found in enumerate(BLOCK.finditer(path.read_text(encoding="utf-8")), start=1):
            marked = "invalid" in found["mark"]
            if "package" in found["mark"]:  # a type of a package that the page brings: it has a test of its own
                continue
            if "apiVersion" in found["text"] and marked == wrong and "spec: ..." not in found["text"]:
                yield pytest.param(found["text"], id=f"{name(path)}-{number}")


def check(text: str, folder: Path) -> None:
    """Load one block as the file of a folder that holds what documentation speaks of.

    A block may be a part of a system: what it refers to may stand elsewhere.

    Raises:
        Problems: something else is wrong.
    """
    for path, content in FILES.items():
        place = folder / path
        if content is None:
            place.mkdir()
        else:
            place.parent.mkdir()
            place.write_text(content, encoding="utf-8")
    try:
        load([SourceFile(folder, "block.yaml", text.encode())])
    except Problems as error:
        serious = [one for one in error.problems if one.code not in {"unresolved-reference", "bad-file"}]
        if serious:
            raise Problems(serious) from error


@pytest.mark.parametrize("text", list(blocks(wrong=False)))
def test_manifests_are_valid(text: str, tmp_path: Path) -> None:
    """A manifest that a reader copies works."""
    check(text, tmp_path)


@pytest.mark.parametrize("text", list(blocks(wrong=True)))
def test_wrong_manifests_are_wrong(text: str, tmp_path: Path) -> None:
    """A manifest that is shown for its mistake has one."""
    with pytest.raises(LoomdError):
        load([SourceFile(tmp_path, "block.yaml", text.encode())])


def test_the_readme_is_whole(tmp_path: Path) -> None:
    """The manifest of the README stands on its own, and the figures have their place."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("<!-- figures -->") == 1
    assert text.count("<!-- /figures -->") == 1
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "page.md").touch()
    whole = next(found["text"] for found in BLOCK.finditer(text) if "apiVersion" in found["text"])
    snapshot = load([SourceFile(tmp_path, "block.yaml", whole.encode())])
    assert {item.ref.kind for item in snapshot.objects.values()} >= {"Provider", "KnowledgeBase", "Agent"}


def anchors(path: Path) -> set[str]:
    """Return the anchors that a page's headings have."""
    text = FENCED.sub("", path.read_text(encoding="utf-8"))
    plain = (re.sub(r"[^\w\- ]", "", found["text"].lower()) for found in HEADING.finditer(text))
    return {words.strip().replace(" ", "-") for words in plain}


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    """Every link to a file of the project, and to a heading in it, resolves."""
    text = FENCED.sub("", path.read_text(encoding="utf-8"))
    broken: list[str] = []
    for found in LINK.finditer(text):
        target, _, anchor = found["target"].partition("#")
        if "://" in target:
            continue
        place = (path.parent / target).resolve() if target else path
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in anchors(place)):
            broken.append(found["target"])
    assert not broken


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_nothing_foreign(path: Path) -> None:
    """No page holds a leftover, the path of somebody's machine, or the host of a package registry."""
    text = path.read_text(encoding="utf-8")
    assert [found[0] for found in FORBIDDEN.finditer(text)] == []


@pytest.mark.parametrize("folder", ["docs", "docs/explanation", "docs/howto", "docs/adr", "docs/reference"])
def test_the_index_names_every_page(folder: str) -> None:
    """A page that no index leads to is not found."""
    here = ROOT / folder
    index = here / "README.md" if (here / "README.md").exists() else ROOT / "docs" / "README.md"
    linked = {
        (index.parent / found["target"].partition("#")[0]).resolve()
        for found in LINK.finditer(index.read_text(encoding="utf-8"))
    }
    pages = {path.resolve() for path in here.glob("*.md")} - {index.resolve()}
    assert sorted(name(path) for path in pages - linked) == []


def test_generated_files_are_fresh() -> None:
    """Schemas and reference say what the code says: run `make generate` otherwise."""
    assert stale() == []
