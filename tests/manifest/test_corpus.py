"""The corpus: each file of `bad/` holds an input and, after a marker, exactly what loomd says of it."""

from pathlib import Path

import pytest

from loomd.manifest.convert import accepts, types_accept
from loomd.manifest.document import read_documents
from loomd.manifest.kind import API_VERSION, find_kinds
from loomd.manifest.load import load
from loomd.manifest.problem import Problem, Problems
from loomd.manifest.source import SourceFile, read_path

HERE = Path(__file__).parent
MARKER = b"#: expected\n"
BAD = sorted((HERE / "bad").glob("*.yaml"))
GOOD = sorted((HERE / "good").glob("*.yaml"))


def by_name(path: Path) -> str:
    """Return the id of a case."""
    return path.stem


def describe(problem: Problem) -> str:
    """Return a problem as the corpus writes it."""
    at = problem.position
    related = f" see {problem.related.line}:{problem.related.column}" if problem.related else ""
    hint = f" ({problem.hint})" if problem.hint else ""
    return f"# {at.line}:{at.column} {problem.code} {problem.pointer or '/'}: {problem.message}{hint}{related}\n"


def problems_of(data: bytes) -> list[Problem]:
    """Return what loomd says of one file."""
    try:
        load([SourceFile(HERE / "good", "manifest.yaml", data)])
    except Problems as error:
        return list(error.problems)
    return []


@pytest.mark.parametrize("path", BAD, ids=by_name)
def test_bad_manifest_is_refused_in_these_words(path: Path, request: pytest.FixtureRequest) -> None:
    """Every bad manifest gets exactly the problems that stand in its file."""
    data, _, expected = path.read_bytes().partition(MARKER)
    said = "".join(describe(one) for one in problems_of(data)).replace(str(HERE / "good"), "GOOD")
    if request.config.getoption("--update-corpus"):
        path.write_bytes(data + MARKER + said.encode())
        expected = said.encode()
    assert said == expected.decode()
    assert said, "a bad manifest was accepted"


@pytest.mark.parametrize("path", GOOD, ids=by_name)
def test_good_manifest_is_accepted(path: Path) -> None:
    """Every good manifest loads."""
    assert load(read_path(path)).objects


def test_corpus_is_large_enough() -> None:
    """The corpus holds at least 30 bad manifests."""
    assert len(BAD) >= 30


BEYOND_SCHEMA = {"two-secret-sources", "integer-as-float", "missing-file", "leaving-file", "literal-header"}
"""Rules that a JSON Schema cannot say: the types alone refuse these."""

STRICTER_SCHEMA = {"bad-duration"}
"""Programs may give a duration as a number of seconds; a manifest must say the unit."""


@pytest.mark.parametrize("path", [*GOOD, *BAD], ids=by_name)
def test_schema_and_types_agree(path: Path) -> None:
    """Schema and types accept and refuse the same specs, but for the rules listed here."""
    for document in read_documents(path.read_bytes().partition(MARKER)[0], path.name)[0]:
        value = document.value
        kind = find_kinds().get(value.get("kind", "")) if isinstance(value, dict) else None
        if kind is None or set(value) != {"apiVersion", "kind", "metadata", "spec"}:
            continue
        schema, types = accepts(kind, {**value, "apiVersion": API_VERSION}), types_accept(kind, value)
        assert schema or not types or path.stem in STRICTER_SCHEMA
        assert types or not schema or path.stem in BEYOND_SCHEMA
