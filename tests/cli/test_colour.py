"""What a terminal is shown of texts that come from outside."""

import io

import pytest

from loomd.cli.colour import harmless
from loomd.manifest.source import printable
from tests.cli.terminal import TerminalStream

ESCAPED = [
    ("a\x1b[2Jb\x07", r"a\x1b[2Jb\x07"),
    ("pay \u202e001\u202c now", r"pay \u202e001\u202c now"),
    ("\u202a\u202b\u202d\u2066\u2067\u2068\u2069", r"\u202a\u202b\u202d\u2066\u2067\u2068\u2069"),
]
RIGHT_TO_LEFT = "\u0634\u0643\u0631\u0627\u200f \u200e(\u05ea\u05d5\u05d3\u05d4)"


@pytest.mark.parametrize(("text", "shown"), ESCAPED)
def test_what_steers_a_terminal_or_turns_the_order_is_spelled_out(text: str, shown: str) -> None:
    """In answers, and in what is shown on one line; a file gets the text as it is."""
    assert harmless(text, TerminalStream()) == printable(text) == shown
    assert harmless(text, io.StringIO()) == text


def test_text_from_right_to_left_stays_as_it_is() -> None:
    """Its letters and the marks that it needs turn nothing else; line ends and tabs stay, too."""
    assert harmless(f"{RIGHT_TO_LEFT}\n\t", TerminalStream()) == f"{RIGHT_TO_LEFT}\n\t"
    assert printable(RIGHT_TO_LEFT) == RIGHT_TO_LEFT


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("utf-8", "café 房 \\udc80"), ("latin-1", "café \\u623f \\udc80"), ("ascii", "caf\\xe9 \\u623f \\udc80")],
)
def test_a_character_that_a_terminal_does_not_have_is_spelled_out(encoding: str, shown: str) -> None:
    """So that what is shown takes the columns that were counted for it; a file gets the text as it is."""
    assert harmless("café 房 \udc80", TerminalStream(encoding)) == shown
