"""Regular expressions of RE2 in manifests."""

import time

import pytest
from pydantic import TypeAdapter, ValidationError

from loomd.manifest.regexp import Regexp, compiled

VALID: TypeAdapter[str] = TypeAdapter(Regexp)


@pytest.mark.parametrize("pattern", ["(", "(?<=a)b", r"(a)\1", "a{1,5000}", "", "*"])
def test_what_is_no_pattern(pattern: str, capfd: pytest.CaptureFixture[str]) -> None:
    """It is refused in our words, and nothing is printed."""
    with pytest.raises(ValidationError, match=r"expected a regular expression of RE2, got|at least 1 character"):
        VALID.validate_python(pattern)
    assert capfd.readouterr() == ("", "")


def test_a_pattern_that_hangs_others_does_not_hang() -> None:
    """Nested repetition takes linear time."""
    started = time.process_time()
    assert not compiled(VALID.validate_python("(a+)+$")).search("a" * 100_000 + "b")
    assert time.process_time() - started < 1
