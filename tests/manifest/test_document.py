"""The reader of YAML: values, positions, limits."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loomd.manifest.document import MAX_NODES, MAX_PAIRS, read_documents
from loomd.manifest.problem import Position


def codes(data: bytes) -> list[str]:
    """Return the codes of what is wrong with a file."""
    return [one.code for one in read_documents(data, "f.yaml")[1]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("true", True),
        ("~", None),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("-12", -12),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("12:30:45", "12:30:45"),
        ("2024-01-02", "2024-01-02"),
        ("1_000", "1_000"),
        ('"12"', "12"),
        ("-", "-"),
    ],
)
def test_plain_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    """A word is what the core schema of YAML 1.2 says, nothing more."""
    data = f"a: {text}\n" if text != "-" else 'a: "-"\n'
    assert read_documents(data.encode(), "f")[0][0].value == {"a": value}


def test_positions_of_values_and_keys() -> None:
    """Every value and every key has its line and column in the file, in later documents too."""
    data = b"x: 1\n---\nspec:\n  tools:\n    - name: s\xc3\xbc\xc3\x9f\n      a/b~c: {k: [1, 2]}\n"
    document = read_documents(data, "f.yaml")[0][1]
    assert document.where("/spec/tools/0/name") == Position("f.yaml", 5, 13)
    assert document.where("/spec/tools/0/a~1b~0c/k/1") == Position("f.yaml", 6, 22)
    assert document.where_key("/spec/tools/0/a~1b~0c") == Position("f.yaml", 6, 7)
    assert document.where("/spec/tools/0/name/absent") == Position("f.yaml", 5, 13)


@pytest.mark.parametrize(
    "data",
    [b"\xef\xbb\xbfa: 1\r\nb: [x]\r\n", b"a: 1\nb: [x]", b"---\na: 1\nb:\n- x\n...\n"],
    ids=["bom-crlf", "bare", "markers"],
)
def test_spellings_of_one_document(data: bytes) -> None:
    """A byte-order mark, CRLF, document markers and a missing last newline change nothing."""
    assert [one.value for one in read_documents(data, "f")[0]] == [{"a": 1, "b": ["x"]}]


def test_empty_documents_are_left_out() -> None:
    """Nothing between two markers is no document."""
    assert read_documents(b"# only a comment\n---\n---\n~\n---\na: 1\n---\n", "f")[0][0].value == {"a": 1}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"[" * 60_000, "too-deep"),
        (b"{a: " * 60_000, "too-deep"),
        (b"- " * 60_000, "too-deep"),
        (b"a: \x00", "yaml-syntax"),
        (b"a: \xff", "not-utf8"),
        ("a: 1".encode("utf-16"), "not-utf8"),
        (b"a: \xed\xa0\x80", "not-utf8"),
        (b'a: "\\uD800"', "yaml-syntax"),
        (b"%YAML 3.0\n---\na: 1", "yaml-syntax"),
        (b"a: &x [*x]", "unknown-alias"),
        (b"a: 1" + b"0" * 10_000, "out-of-range"),
        (b"x" * (5 << 20), "too-large"),
        (b"[" + b"1," * (MAX_NODES + 1) + b"]", "too-large"),
        (b"---\n" * (MAX_NODES + 1), "too-large"),
        (b'{"a": "' + b"\\ud83d\\ude00" * (MAX_PAIRS + 1) + b'"}', "too-large"),
    ],
    ids=[
        "brackets",
        "braces",
        "dashes",
        "nul",
        "latin",
        "utf-16",
        "surrogate",
        "escape",
        "version",
        "loop",
        "digits",
        "bytes",
        "nodes",
        "documents",
        "pairs",
    ],
)
def test_hostile_input_is_one_problem(data: bytes, code: str) -> None:
    """Input that crashes or hangs other readers is refused, with its position."""
    documents, problems = read_documents(data, "f.yaml")
    assert [one.code for one in problems] == [code]
    assert problems[0].position.file == "f.yaml"
    del documents


def test_depth_counts_through_aliases() -> None:
    """Nesting cannot be hidden behind aliases."""
    deep = b"[" * 40 + b"]" * 40
    assert codes(b"a: &a " + deep + b"\nb: " + b"[" * 40 + b"*a" + b"]" * 40) == ["too-deep"]


def test_reading_goes_on_after_a_broken_document() -> None:
    """A document that cannot be read does not hide the next one, whose positions stay right."""
    documents, problems = read_documents(b"a: b: c\n---\nok: 1\n---\n[\n---\nx: 1\nx: 2\n", "f")
    assert [one.value for one in documents] == [{"ok": 1}, {"x": 1}]
    assert documents[0].where("/ok") == Position("f", 3, 5)
    assert [(one.code, one.position.line) for one in problems] == [
        ("yaml-syntax", 1),
        ("yaml-syntax", 6),
        ("duplicate-key", 8),
    ]


@pytest.mark.parametrize(
    ("text", "position"),
    [("n:\ni", (2, 2)), ("a: [1", (1, 6)), ("[", (1, 2)), ("a: [1\n", (2, 1)), ("a: b: c\n---\n{", (3, 2))],
    ids=["key", "list", "bracket", "ended", "second"],
)
def test_what_is_missing_at_the_end_is_told_there(text: str, position: tuple[int, int]) -> None:
    """A last line without an end is the last line: no problem stands below it."""
    found = read_documents(text.encode(), "f")[1][-1]
    assert (found.position.line, found.position.column) == position
    assert found.related is None or found.related.line < found.position.line


def test_nothing_at_the_end_stands_there() -> None:
    """A key that ends the file has no value, and that is where the file ends."""
    document = read_documents(b"? a\n? b", "f")[0][0]
    assert document.value == {"a": None, "b": None}
    assert document.where("/b") == Position("f", 2, 4)


def test_two_escapes_are_one_character_that_moves_nothing() -> None:
    """What JSON writes as two escapes is read as one character, and what follows keeps its column."""
    data = rb'{"\ud83d\ude00": ["\\ud83d\\ude00", "\ud83d\ude00"], "a": 1}'
    document = read_documents(data, "f")[0][0]
    assert document.value == {"\N{GRINNING FACE}": [r"\ud83d\ude00", "\N{GRINNING FACE}"], "a": 1}
    assert document.where("/a") == Position("f", 1, data.index(b"1}") + 1)


def test_two_escapes_move_nothing_in_another_line() -> None:
    """What follows a quoted text of several lines keeps its column, wherever in it there are two escapes."""
    data = b'{"a": "\\ud83d\\ude00\n  \\ud83d\\ude00 b", "c": 1}'
    document = read_documents(data, "f")[0][0]
    assert document.value == {"a": "\N{GRINNING FACE} \N{GRINNING FACE} b", "c": 1}
    assert document.where("/c") == Position("f", 2, data.splitlines()[1].index(b"1}") + 1)


def test_a_key_cannot_steer_the_terminal_of_who_reads_of_it() -> None:
    """A problem that names a key shows what does not print as escapes; its pointer is the key itself."""
    (problem,) = read_documents(rb'"\e[2J\n\u202E": {a: 1, a: 2}', "f")[1]
    assert problem.message.startswith(r"\x1b[2J\n\u202e.a: ")
    assert problem.pointer == "/\x1b[2J\n\u202e/a"


@pytest.mark.parametrize("text", [r"['\ud83d\ude00']", r"[\ud83d\ude00]"], ids=["single quotes", "plain"])
def test_escapes_are_read_in_double_quotes_only(text: str) -> None:
    """Elsewhere a backslash is a backslash."""
    assert read_documents(text.encode(), "f")[0][0].value == [r"\ud83d\ude00"]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet="ab:-[]{}&*!|>'\"#,? \n\t~<0.", max_size=80).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """No input raises, and every problem has a position in the file."""
    documents, problems = read_documents(data, "f")
    for problem in problems:
        assert problem.position.file == "f"
        assert problem.position.line >= 1
    for document in documents:
        assert set(document.keys) <= set(document.places) | set(document.keys)
        assert document.where("").line >= 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(alphabet="abcd/~ é", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(alphabet="xyz/~", min_size=1, max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_json_is_read_as_itself(value: object) -> None:
    """What a program wrote as JSON comes back unchanged, and every value has a place."""
    documents, problems = read_documents(json.dumps(value, ensure_ascii=False).encode(), "f")
    assert problems == []
    assert [one.value for one in documents] == ([] if value is None else [value])
