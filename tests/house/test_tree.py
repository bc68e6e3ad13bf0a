"""Rules of the house that no linter has: sizes, names, docstrings, and a reason beside every exception."""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "loomd").rglob("*.py"))
SCRIPTS = [path for folder in ("tests", "examples") for path in sorted((ROOT / folder).rglob("*.py"))]
LONGEST = 500
"""Most lines of a module; 300 is the aim."""
VAGUE = {"utils", "util", "helpers", "common", "core", "misc", "manager", "types"}
EXCEPTION = re.compile(r"#\s*(?:noqa|type:\s*ignore|pyright:\s*ignore)")
REASONED = re.compile(r"#\s*(?:noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|(?:type|pyright):\s*ignore\[[\w\-, ]+\])\s+#\s*\S+")
QUOTED = re.compile(r"`[^`\n]*`")


def name(path: Path) -> str:
    """Return the path of a module below the project."""
    return path.relative_to(ROOT).as_posix()


def test_modules_are_short_and_say_what_they_are_for() -> None:
    """A module has a docstring and at most 500 lines."""
    texts = {name(path): path.read_text(encoding="utf-8") for path in MODULES}
    assert {path for path, text in texts.items() if len(text.splitlines()) > LONGEST} == set()
    assert {path for path, text in texts.items() if not ast.get_docstring(ast.parse(text))} == set(), "what for?"


def test_names_are_nouns_of_the_domain() -> None:
    """No folder or module has a name that could hold anything."""
    names = {part for path in MODULES for part in path.relative_to(ROOT).with_suffix("").parts}
    assert not names & VAGUE


def test_exceptions_have_a_reason() -> None:
    """Every `noqa` and every ignored type error names its code and says why."""
    bare = [
        f"{name(path)}:{number}: {line.strip()}"
        for path in (*MODULES, *SCRIPTS)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if EXCEPTION.search(QUOTED.sub("", line)) and not REASONED.search(line) and "re.compile" not in line
    ]
    assert bare == []


def test_tests_mirror_the_package() -> None:
    """Every package has tests in a folder of its name; every other folder is named for a module or spans them all."""
    packages = {path.parent.name for path in (ROOT / "loomd").glob("*/__init__.py")}
    modules = {path.stem for path in (ROOT / "loomd").glob("*.py")}
    tested = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert packages - tested == set(), "packages without a test"
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}
    spanning = {"chaos", "e2e", "examples", "house", "faults", "manifests", "simulation"}
    assert folders - packages - modules - spanning == set()


def test_the_floors_are_drawn_as_they_are() -> None:
    """The picture in the page about the architecture has all floors of the plan, in its order."""
    plan = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    floors = next(contract["layers"] for contract in plan if contract["type"] == "layers")
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    drawn = page.partition("## The floors")[2].partition("```text\n")[2].partition("```")[0].splitlines()
    words = [re.split(r" {2,}", line)[0] for line in drawn if not line.startswith(" ")]
    assert [sorted(floor.split(" | ")) for floor in words] == [sorted(floor.split(" | ")) for floor in floors]
