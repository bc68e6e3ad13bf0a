"""Files that nobody thought of: whatever the bytes are, they are read as YAML says, or refused in problems.

Each test draws the same files every time. `LOOMD_FUZZ=50 pytest tests/manifest/test_fuzz.py` draws others, fifty times
as many; `python -m tests.manifest.fuzz` goes on for as long as it is told to.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from loomd.manifest.document import read_documents
from loomd.manifest.places import Document
from loomd.manifest.problem import Problem
from loomd.manifest.wording import escape
from tests.manifest.corpus import BAD, GOOD, documents_of, input_of
from tests.manifest.mutation import ODD, paths, replaced
from tests.manifest.oracle import judge, lines_of
from tests.manifest.reference import Read, read

TIMES = int(os.environ.get("LOOMD_FUZZ", "1"))
SECONDS = 100
"""How long the fuzzer runs at most."""
RUNS = 2 * len((*GOOD, *BAD))
"""How many files it looks at: those that it begins with, and as many of its own."""
SEEDS = [input_of(path).decode(errors="surrogateescape") for path in (*GOOD, *BAD)]
VALUES = [one.value for path in (*GOOD, *BAD) for one in documents_of(path) if isinstance(one.value, dict)]
TOKENS = (
    *(" ", "  ", "\n", "\n\n", "- ", ": ", ":", "? ", "---\n", "...\n", "[", "]", "{", "}", ",", ", ", "#", " # "),
    *("&a ", "*a", "*a ", "<<", "!", "!!str ", "|", ">", "|\n  x\n", ">-\n", '"', "'", '""', "''", "\\", "\\n"),
    *("\\ud83d\\ude00", "\\ud800", "%YAML 1.2\n---\n", "%TAG ! x:\n", "\t", "\r", "\r\n", "\0", "\x7f", "\u0085"),
    *("\u2028", "\ufeff", "é", "\U0001f600", "a", "b", "a: ", "- a\n", "null", "~", "true", "no", "0", "-1", "017"),
    *("0x1F", "0o17", "1e3", ".5", "1.", ".inf", "12:30", "2024-01-02", "1_0", str(2**63), str(-(2**63)), "1e999"),
    *("30s", "2Mi", "{{ goal }}", "{% if a %}", "{{", "apiVersion: loomd.dev/v1\n", "kind: Agent\n", "valueFrom"),
    *("metadata: {name: x}\n", "spec:\n", "type", "matchLabels", "../x", "sk-a1b2c3d4e5", "=", "@", "`"),
)
"""What YAML and manifests are made of."""


def drawing(examples: int) -> Callable[[Any], Any]:
    """Return how many files a test draws, the same ones each time unless more are asked for."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(
        max_examples=examples * TIMES, derandomize=TIMES == 1, deadline=None, database=None, suppress_health_check=slow
    )


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Draw a text of tokens: short, so that many of them are YAML."""
    return "".join(draw(st.lists(st.sampled_from(TOKENS), max_size=12)))


@st.composite
def changed(draw: st.DrawFn) -> str:
    """Draw an input of the corpus in which some lines or words were moved, doubled, dropped or replaced."""
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        parts = text.splitlines(keepends=True) if draw(st.booleans()) else re.split(r"(\s+|[^\w\s]+)", text)
        if not parts:
            break
        where = draw(st.integers(0, len(parts) - 1))
        to = min(len(parts), where + draw(st.integers(0, 3)))
        other = draw(st.integers(0, len(parts) - 1))
        tokens = st.lists(st.sampled_from(TOKENS), max_size=3)
        parts[where:to] = draw(
            st.one_of(
                tokens,
                st.just(parts[where:to] * 2),
                st.just(parts[other : other + 2]),
                st.just(["  ", *parts[where:to]]),
                st.just(["".join(parts[where:to]).lstrip()]),
            )
        )
        text = "".join(parts)
    return draw(st.sampled_from([text, text, text + "\n---\n" + draw(st.sampled_from(SEEDS))]))


@st.composite
def manifests(draw: st.DrawFn) -> Any:
    """Draw a document of the corpus in which some values were dropped or replaced."""
    value = draw(st.sampled_from(VALUES))
    for _ in range(draw(st.integers(1, 3))):
        places = list(paths(value, ()))[1:]
        if places:
            path = draw(st.sampled_from(places))
            value = replaced(value, path, draw(st.sampled_from(ODD) | JSON), drop=draw(st.integers(0, 3)) == 0)
    return value


LETTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\ufeff\ufffe\uffff")
"""What JSON and YAML write as itself."""
ODD_WORDS = ("no", "null", "~", "true", "12", "-1.5", "0x1F", "2024-01-02", "12:30", "<<", "=", "a: b", "a #b", "- a")
WORDS = st.text(LETTERS, max_size=12) | st.sampled_from((*ODD_WORDS, "a\nb", " a\n", "\n"))
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
"""Whatever a document may hold."""


@drawing(300)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Bytes without any sense are refused in problems that fit them."""
    judge(data)


@drawing(400)
@given(texts() | st.text(max_size=60))
def test_any_text(text: str) -> None:
    """Text without any sense is read, or refused in problems that fit it."""
    judge(text.encode(errors="surrogateescape"))


@drawing(300)
@given(changed())
def test_any_change_of_a_manifest(text: str) -> None:
    """A manifest in which anything was moved or replaced is read, or refused in problems that fit it."""
    judge(text.encode(errors="surrogateescape"))


@drawing(300)
@given(manifests(), st.booleans())
def test_any_value_in_a_manifest(value: Any, as_json: bool) -> None:
    """A manifest in which values are dropped or replaced is read, or refused in problems that fit it."""
    text = json.dumps(value) if as_json else yaml.safe_dump(value, allow_unicode=True, sort_keys=False)
    judge(text.encode())


@drawing(200)
@given(changed(), st.integers(1, 3))
def test_lines_before_a_file_move_its_problems(text: str, lines: int) -> None:
    """What stands before a file moves what is wrong with it, and changes nothing else."""
    assume(not text.startswith(("\ufeff", "{", "[", " ", "\t", "\n", "\r")))
    before, problems = read_problems(text), read_problems("# a comment\n" * lines + text)
    assert [(line - lines, column, said) for line, column, said in problems] == before


def read_problems(text: str) -> list[tuple[int, int, str]]:
    """Return the line and column of what is wrong with the text of a file, and what it is."""
    found = read_documents(text.encode(errors="surrogateescape"), "f")[1]
    return [(one.position.line, one.position.column, said(one)) for one in found]


def said(problem: Problem) -> str:
    """Return what a problem says, without the line that it may name."""
    return re.sub(r"line \d+", "line", f"{problem.code} {problem.pointer} {problem.message} {problem.object}")


@drawing(400)
@given(texts() | changed())
def test_yaml_is_read_as_its_specification_says(text: str) -> None:
    """What is YAML for the plain reader is read with the same values and places; what is not, is not."""
    assume("\ufeff" not in text and "\\u" not in text)
    data = text.encode(errors="surrogateescape")
    documents, problems = read_documents(data, "f")
    codes = {one.code for one in problems}
    try:
        expected = read(text)
    except (yaml.YAMLError, LookupError, ValueError):
        assert codes
    else:
        assert not codes & {"yaml-syntax", "not-utf8", "unknown-alias", "duplicate-key"}
        if not codes:
            assert_same(documents, expected, len(lines_of(data)))


def assert_same(documents: list[Document], expected: list[Read], lines: int) -> None:
    """Compare what was read with what the plain reader says, types and order included.

    Behind a last line that does not end, the plain reader counts one that is not there.
    """
    assert repr([one.value for one in documents]) == repr([one.value for one in expected])
    for document, other in zip(documents, expected, strict=True):
        for path, place in other.places.items():
            if place[0] > lines:
                continue
            found = document.places["".join(f"/{escape(str(part))}" for part in path)]
            assert (found.line, found.column) == place


AGREED = (
    "a",
    "b7",
    "-8",
    "7.5",
    "true",
    "false",
    "null",
    "~",
    "é",
    "'x'",
    '"y"',
    "''",
    '"\\n"',
    "|\n  t\n",
    ">-\n  u\n\n  v\n",
)
"""Scalars that YAML 1.1 and 1.2 read alike."""
STRUCTURE = (
    "\n",
    "\n  ",
    "\n    ",
    " ",
    "- ",
    "k: ",
    "l: ",
    ": ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "&a ",
    "*a ",
    " # c\n",
    "---\n",
)


@drawing(250)
@given(st.lists(st.sampled_from(AGREED + STRUCTURE), max_size=14).map("".join))
def test_yaml_is_read_as_pyyaml_reads_it(text: str) -> None:
    """Where both versions of YAML agree, the values are those of `yaml.CSafeLoader`."""
    documents, problems = read_documents(text.encode(), "f")
    assume(not problems and text.count("&a ") < 2)  # which YAML allows, and PyYAML does not
    expected = [one for one in yaml.load_all(text, yaml.CSafeLoader) if one is not None]
    dumped = json.dumps(expected)
    assume('"null": ' not in dumped)  # a key is text for us
    assert json.dumps([one.value for one in documents]) == dumped


@drawing(200)
@given(
    st.lists(JSON, max_size=3) | st.dictionaries(WORDS, JSON, max_size=3),
    st.sampled_from([None, 0, 1, 4, "\t"]),
    st.sampled_from([(", ", ": "), (",", ":"), (" ,", " :")]),
    st.booleans(),
)
def test_json_is_read_as_a_parser_of_json_reads_it(
    value: Any, indent: int | str | None, separators: tuple[str, str], escapes: bool
) -> None:
    """What a program wrote as JSON in any layout comes back equal, and every value stands where its place says."""
    text = json.dumps(value, indent=indent, separators=separators, ensure_ascii=escapes)
    documents, problems = read_documents(text.encode(), "f")
    assert problems == []
    assert repr([one.value for one in documents]) == repr([json.loads(text)])
    lines = lines_of(text.encode())
    for document in documents:
        for path in paths(document.value, ()):
            place = document.places["".join(f"/{escape(str(part))}" for part in path)]
            inner = at(document.value, path)
            begin = json.dumps(inner, ensure_ascii=escapes)[: 1 if isinstance(inner, dict | list) else None]
            assert lines[place.line - 1].startswith(begin, place.column - 1)


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    """Return the value at a path."""
    for part in path:
        value = value[part]
    return value


@st.composite
def styles(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a way to write YAML."""
    return {
        "default_flow_style": draw(st.sampled_from([None, False, True])),
        "indent": draw(st.integers(2, 9)),
        "width": draw(st.sampled_from([20, 80, 1000])),
        "allow_unicode": draw(st.booleans()),
        "explicit_start": draw(st.booleans()),
        "explicit_end": draw(st.booleans()),
        "line_break": draw(st.sampled_from(["\n", "\r\n"])),
        "sort_keys": False,
    }


@drawing(300)
@given(JSON, styles())
def test_yaml_that_a_program_wrote_is_read_as_it_was_meant(value: Any, style: dict[str, Any]) -> None:
    """What `yaml.safe_dump` wrote in any layout comes back equal."""
    check_dump(value, yaml.safe_dump(value, **style))


@drawing(200)
@given(st.lists(WORDS, min_size=1) | st.dictionaries(WORDS, WORDS, min_size=1), st.sampled_from("\"'|>"), styles())
def test_text_in_any_style_is_read_as_it_was_meant(value: Any, quote: str, style: dict[str, Any]) -> None:
    """Quoted, folded and literal text comes back equal."""
    check_dump(value, yaml.safe_dump(value, default_style=quote, **style))


def check_dump(value: Any, text: str) -> None:
    """Read what was dumped, unless PyYAML does not read it itself, or wrote a text that YAML 1.2 takes for a number."""
    assume(repr(yaml.load(text, yaml.CSafeLoader)) == repr(value))
    assume(not re.search(r"(?<![\w.])(?:0o[0-7]+|[-+]?[0-9.]+[eE][0-9]+)(?![\w.])", text))
    documents, problems = read_documents(text.encode(), "f")
    assert problems == []
    assert repr([one.value for one in documents]) == repr([] if value is None else [value])


@pytest.mark.skipif(find_spec("atheris") is None, reason="there is no atheris for this machine")
def test_the_fuzzer_finds_nothing(tmp_path: Path) -> None:
    """Guided by what it reaches in the reader, a fuzzer finds no input of which something does not hold."""
    # A process begins with the peak memory of the one that started it, so that the shell stands between them.
    shell = ["sh", "-c", '"$@"; exit $?', "sh"]
    command = [
        *shell,
        sys.executable,
        "-m",
        "tests.manifest.fuzz",
        str(SECONDS),
        str(tmp_path),
        "-seed=1",
        f"-runs={RUNS}",
    ]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=SECONDS + 60)  # noqa: S603  # our own words
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Done" in done.stderr
    assert any((tmp_path / "kept").iterdir()), "it made nothing new"
