"""The corpus of manifests: every message word by word, and all readers of it of one mind."""

from pathlib import Path

import pytest

from loomd.manifest.code import CODES
from tests.manifest.corpus import BAD, GOOD, MARKER, by_name, describe, problems_of


def check(path: Path, update: bool) -> list[str]:
    """Compare what loomd says of a case with what stands in its file, and return the severities."""
    data, _, expected = path.read_bytes().partition(MARKER)
    problems = problems_of(data)
    said = "".join(describe(one) for one in problems)
    if update:
        path.write_bytes(data + (MARKER + said.encode() if said or path in BAD else b""))
        expected = said.encode()
    assert said == expected.decode()
    assert {one.code for one in problems} <= CODES.keys()
    return [one.severity for one in problems]


@pytest.mark.parametrize("path", BAD, ids=by_name)
def test_bad_manifest_is_refused_in_these_words(path: Path, request: pytest.FixtureRequest) -> None:
    """Every bad manifest gets exactly the problems that stand in its file."""
    assert "error" in check(path, bool(request.config.getoption("--update-corpus"))), "a bad manifest was accepted"


@pytest.mark.parametrize("path", GOOD, ids=by_name)
def test_good_manifest_is_accepted(path: Path, request: pytest.FixtureRequest) -> None:
    """Every good manifest loads, with exactly the warnings that stand in its file."""
    assert "error" not in check(path, bool(request.config.getoption("--update-corpus")))


def test_corpus_is_large_enough() -> None:
    """The corpus holds at least 80 bad manifests and 20 good ones."""
    assert len(BAD) >= 80
    assert len(GOOD) >= 20
