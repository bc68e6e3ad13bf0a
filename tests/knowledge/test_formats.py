"""Formats: what stands in a document comes out, at its place; what cannot be read is said, and harms nothing."""

import csv
import io
import json
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader
from pypdf.errors import DependencyError

from loomd.events.event import DocumentSkipped
from loomd.knowledge.formats.base import BadDocument, Content, Heading, Limits, cite
from loomd.knowledge.formats.isolated import Reader
from loomd.knowledge.formats.known import find_formats, format_of, suffix_of
from tests.knowledge.documents import bomb, docx, ole, pdf

if TYPE_CHECKING:
    from tests.knowledge.conftest import Lab

LIMITS = Limits(1 << 20, 10)
PAGE = """\
<!doctype html>
<html><head><title>The  Guide</title><meta name="description" content="All of it.">
<style>p { color: red }</style></head>
<body>
<nav><ul><li>Home</li><li>Help</li></ul></nav>
<header>Site header</header>
<h1>Guide</h1>
<p>Welcome &amp; hello.
It goes <b>on</b> here.</p>
<h2>In<br>stall</h2>
<ul><li>one</li>
<li><p>two</p></li></ul>
<table><tr><th>Name</th><th>Age</th></tr>
<tr><td>Ann</td><td>3</td></tr></table>
<pre>
def f():
    return 1
</pre>
<script>alert("no")</script>
<footer>Imprint</footer>
</body></html>
"""


def read(path: str, data: "bytes | str", limits: Limits = LIMITS) -> Content:
    """Return what a document holds, read in this process."""
    raw = data if isinstance(data, bytes) else data.encode()
    return find_formats()[format_of(path).name].read(raw, suffix_of(path), limits)


def shown(content: Content) -> list[tuple[int, str]]:
    """Return the lines that are not blank, with their places."""
    return [(content.place(at), line) for at, line in enumerate(content.lines) if line]


@pytest.fixture(scope="module")
def reader() -> Generator[Reader, None, None]:
    """Yield what reads documents in a process of its own."""
    with Reader() as made:
        yield made


def refusal(reader: Reader, path: str, data: bytes) -> str:
    """Return why a document cannot be read, or an empty text."""
    try:
        reader.read(format_of(path).name, path, data, LIMITS)
    except BadDocument as error:
        return str(error)
    return ""


# What comes out


@pytest.mark.parametrize("style", ["display:none", "color: red; Display : NONE !important", "visibility:hidden"])
def test_html_that_is_not_shown_is_not_read(style: str) -> None:
    """What a style hides from people is left out; what only looks alike is read."""
    page = f'<p>a</p><div style="{style}">no <b>never</b></div><p style="display: nonesuch; x-display:none">b</p>'
    assert [line for _, line in shown(read("a.html", page))] == ["a", "b"]


def test_html_is_what_people_read() -> None:
    """Menus, headers, footers, styles and scripts are left out; every line stands where it stands in the source."""
    found = read("a.html", PAGE)
    assert shown(found) == [
        (7, "Guide"),
        (8, "Welcome & hello."),
        (9, "It goes on here."),
        (10, "In"),
        (10, "stall"),
        (11, "- one"),
        (12, "- two"),
        (13, "Name | Age"),
        (14, "Ann | 3"),
        (16, "def f():"),
        (17, "    return 1"),
    ]
    assert [(one.level, one.title, one.lines) for one in found.headings] == [(1, "Guide", 1), (2, "In stall", 2)]
    assert found.properties == {"title": "The Guide", "description": "All of it."}


def test_the_main_part_is_enough() -> None:
    """A page that marks its main part is read for it alone, the header of an article in it included."""
    page = "<p>before</p><main>\n<header><h1>Own</h1></header>\n<p>inside</p></main>\n<p>after</p>"
    assert shown(read("a.html", page)) == [(2, "Own"), (3, "inside")]
    assert [one.title for one in read("a.html", page).headings] == ["Own"]
    page = '<div>menu</div><div role="main"><div>\nthis</div></div><div>that</div>'
    assert shown(read("a.html", page)) == [(2, "this")]


@pytest.mark.parametrize("body", ["<p>Cats purr.</p>", "<main><p>Cats purr.</p></main>"])
def test_a_page_without_headings_is_called_by_its_title(body: str) -> None:
    """A title that stands in no line of the text is its heading."""
    found = read("a.html", f"<title>Our pets</title>{body}")
    assert [(one.at, one.title, one.lines) for one in found.headings] == [(0, "Our pets", 0)]
    assert not read("a.html", body).headings


def test_a_page_in_another_encoding() -> None:
    """The encoding that a page names counts; one that is not true is said."""
    page = '<meta charset="iso-8859-1"><p>Größe</p>'
    assert shown(read("a.html", page.encode("latin-1"))) == [(1, "Größe")]
    with pytest.raises(BadDocument, match="is not UTF-8"):
        read("a.html", "<p>Größe</p>".encode("latin-1"))
    with pytest.raises(BadDocument, match="is not the x-nonsense that it says"):
        read("a.html", b'<meta charset="x-nonsense">')


def test_broken_html_is_read_as_far_as_it_goes() -> None:
    """Elements that are never closed, and marks that are none, lose no text."""
    assert [line for _, line in shown(read("a.html", "<p>one<p>two<div>three</p></span> < 4 & 5 <b"))][:2] == [
        "one",
        "two",
    ]


WORDS = st.lists(st.text("abcdef", min_size=1, max_size=6), min_size=1, max_size=4).map(" ".join)


@given(st.lists(st.tuples(st.sampled_from(["p", "h2", "li", "td", "div", "nav", "pre"]), WORDS), max_size=12))
def test_lines_of_html_are_those_of_its_source(parts: list[tuple[str, str]]) -> None:
    """Whatever is around it: each line of text stands in the source line that it names, and no text is lost."""
    source = "\n".join(f"<{tag}>{text}</{tag}>" for tag, text in parts)
    lines = source.split("\n")
    found = shown(read("a.html", source))
    for place, line in found:
        assert all(word in lines[place - 1] for word in line.replace("|", " ").replace("-", " ").split())
    text = " ".join(line for _, line in found).split()
    assert all(word in text for tag, words in parts if tag != "nav" for word in words.split())


def test_pdf_has_pages_and_bookmarks() -> None:
    """The place of a line is its page; bookmarks are headings, at the line that they repeat when there is one."""
    made = pdf(["Intro", "Cats purr."], ["Dogs bark."], bookmarks=[("Intro", 0), ("Dogs", 1)], title="Pets")
    found = read("a.pdf", made)
    assert found.unit == "page"
    assert shown(found) == [(1, "Intro"), (1, "Cats purr."), (2, "Dogs bark.")]
    assert found.headings == [Heading(0, 1, "Intro"), Heading(3, 1, "Dogs", lines=0)]
    assert found.properties == {"title": "Pets"}


def test_word_has_headings_lists_and_tables() -> None:
    """Places count paragraphs and rows; styles say what is a heading."""
    made = docx(("Title", "Pets"), ("Heading 1", "Cats"), ("", "They purr."), ("List Bullet", "mice"), title="T")
    found = read("a.docx", made)
    assert (found.unit, shown(found)) == ("paragraph", [(1, "Pets"), (2, "Cats"), (3, "They purr."), (4, "- mice")])
    assert [(one.level, one.title) for one in found.headings] == [(1, "Pets"), (1, "Cats")]
    assert found.properties["title"] == "T"
    table = read("a.docx", docx(("", "Ages"), rows=[["Name", "Age"], ["Ann", "3"]]))
    assert shown(table) == [(1, "Ages"), (2, "Name | Age"), (3, "Ann | 3")]


def test_rows_of_a_table_name_their_columns() -> None:
    """Each row is a paragraph, at the lines that it takes; empty cells say nothing."""
    found = read("a.csv", 'name,age,note\nAnn,3,\n\n"Bob, Jr",4,"two\nlines"\n')
    assert shown(found) == [
        (2, "name: Ann"),
        (2, "age: 3"),
        (4, "name: Bob, Jr"),
        (4, "age: 4"),
        (5, "note: two lines"),
    ]
    assert found.lines[2] == ""
    assert shown(read("a.csv", "a;b\n1;2\n")) == [(2, "a: 1"), (2, "b: 2")]
    assert shown(read("a.tsv", "a,x\tb\n1\t2\t3\n")) == [(2, "a,x: 1"), (2, "b: 2"), (2, "column 3: 3")]
    assert shown(read("a.csv", "only,names\n")) == [(1, "only, names")]


CELL = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)


@given(st.lists(st.lists(CELL, min_size=2, max_size=2), min_size=2, max_size=8))
def test_no_cell_is_lost(rows: list[list[str]]) -> None:
    """Whatever is in the cells of a table that a program wrote comes out."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows([["a", "b"], *rows])
    found = [line for _, line in shown(read("a.csv", written.getvalue()))]
    assert found == [f"{name}: {cell}" for row in rows for name, cell in zip("ab", row, strict=True)]


def test_values_of_json_have_their_paths() -> None:
    """Each value is a line with the path to it; members of the outermost level are paragraphs."""
    text = '{\n "books": [\n  {"title": "Emma", "pages": 474, "of": null},\n  {"title": "a\\nb"}],\n "": true\n}'
    found = read("a.json", text)
    assert shown(found) == [
        (3, "books[0].title: Emma"),
        (3, "books[0].pages: 474"),
        (4, "books[1].title: a b"),
        (5, '"": true'),
    ]
    assert found.lines[3] == ""
    assert shown(read("a.jsonl", '{"a": 1}\n\n{"a": 2}\n')) == [(1, "a: 1"), (3, "a: 2")]
    assert shown(read("a.json", '"x: y"')) == [(1, "x: y")]
    assert shown(read("a.json", '["\\ud800"]')) == [(1, "[0]: ?")]


JSON = st.recursive(
    st.integers() | st.text('abc{}[]:,\\" ', min_size=1, max_size=6).filter(lambda one: one.split()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab:{", max_size=3), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_each_value_of_json_stands_in_its_line(value: Any) -> None:
    """Whatever the document: as many lines as it has values, each at the line of the source that holds the value."""
    source = json.dumps(value, indent=1)
    lines = source.split("\n")
    found = shown(read("a.json", source))
    assert len(found) == _leaves(value)
    for place, line in found:
        said = json.dumps(line.split()[-1])[1:-1]
        assert said in lines[place - 1]


def _leaves(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 1 if inner is None else sum(_leaves(one) for one in inner)


def test_front_matter_is_no_text() -> None:
    """What a document says of itself is known, and every other line keeps its number."""
    found = read("a.md", "---\ntitle: Pets\ntags: [a, 2]\ndate: 2026-01-02\nx: {y: 1}\n---\n# Cats\n\nThey purr.\n")
    assert shown(found) == [(7, "# Cats"), (9, "They purr.")]
    assert found.properties == {"title": "Pets", "tags": ["a", 2], "date": "2026-01-02"}
    assert found.headings == [Heading(6, 1, "Cats")]


@pytest.mark.parametrize("text", ["---\nplain\n---\nmore", "---\na: [\n---\n", "---\na: 1\n", "--- a\n---"])
def test_what_is_no_front_matter_is_text(text: str) -> None:
    """A rule above some text is a rule."""
    found = read("a.md", text)
    assert (found.lines, found.properties) == (text.split("\n"), {})


def test_definitions_of_code_are_known() -> None:
    """Their names and lines, with comments and decorators, in languages of different families."""
    python = "import os\n\n# About A.\n@final\nclass A:\n    def f(self):\n        pass\n\ndef g():\n    return 1\n"
    spans = read("a.py", python).spans
    assert spans is not None
    assert [(one.start, one.end, one.name) for one in spans] == [(2, 7, "A"), (5, 7, "f"), (8, 10, "g")]


@pytest.mark.parametrize(
    ("path", "text", "names"),
    [
        ("a.go", "package a\n\ntype T struct {\n\tx int\n}\n\nfunc (t T) F() {\n\tg()\n}\n", ["T", "F"]),
        ("a.rs", "struct S {\n  x: i32\n}\nimpl S {\n  fn f() {\n  }\n}\n", ["S", "S", "f"]),
        ("a.c", "int *f(int a)\n{\n  return 0;\n}\nstruct s {\n  int x;\n};\n", ["f", "s"]),
        ("a.cpp", "class C {\n  void f() {\n  }\n};\nnamespace n {\n}\n", ["C", "f", "n"]),
        ("a.java", "class C {\n  void f() {\n  }\n}\n", ["C", "f"]),
        ("a.cs", "class C {\n  void F() {\n  }\n}\n", ["C", "F"]),
        ("a.js", "export class C {\n  f() {\n  }\n}\nfunction g() {\n}\n", ["C", "f", "g"]),
        ("a.ts", "interface I {\n  x: string\n}\nexport function g(): void {\n}\n", ["I", "g"]),
        ("a.tsx", "function G() {\n  return <p/>;\n}\n", ["G"]),
        ("a.rb", "module M\n  class C\n    def f\n    end\n  end\nend\n", ["M", "C", "f"]),
        ("a.sh", "f() {\n  echo\n}\n", ["f"]),
        ("a.php", "<?php\nclass C {\n  function f() {\n  }\n}\n", ["C", "f"]),
    ],
)
def test_every_language_has_definitions(path: str, text: str, names: list[str]) -> None:
    """Each grammar gives the names of definitions."""
    assert [one.name for one in read(path, text).spans or ()] == names


def test_a_citation_says_what_its_numbers_count() -> None:
    """Lines as ever; pages and paragraphs as the part of an address."""
    assert cite("a.md", "line", 3, 9) == "a.md:3-9"
    assert cite("a.pdf", "page", 3, 3) == "a.pdf#page=3"
    assert cite("a.docx", "paragraph", 3, 9) == "a.docx#paragraph=3-9"


def test_a_format_is_known_by_its_media_type_or_its_name() -> None:
    """What a server calls plain text may be anything; what it calls something else is that."""
    assert format_of("a.PDF").name == "pdf"
    assert format_of("a.unknown").name == format_of("README").name == "text"
    assert format_of("https://h/page", "text/html").name == "html"
    assert format_of("https://h/a.py", "text/plain").name == "code"
    assert format_of("https://h/a.md", "application/octet-stream").name == "markdown"


# What is hostile


@pytest.mark.parametrize(
    ("path", "data", "reason"),
    [
        ("a.pdf", b"%PDF-1.4 nothing", "is not a PDF that can be read"),
        ("a.pdf", b"", "is not a PDF that can be read"),
        ("a.pdf", pdf(["x"])[:-60], "is not a PDF that can be read"),
        ("a.pdf", pdf(["x"], password="p"), "is encrypted with a password: save it without one"),
        ("a.pdf", pdf([], []), "holds no text, only pictures of it"),
        ("a.docx", b"PK nothing", "is not a Word document"),
        ("a.docx", ole("EncryptedPackage"), "is encrypted with a password: save it without one, or exclude it"),
        ("a.docx", ole("WordDocument"), "is a Word document of before 2007: save it as .docx"),
        ("a.docx", bomb(8 << 20), "holds more than 1,048,576 bytes of text"),
        ("a.html", b"<p>\xff\xfe", "is not UTF-8 (line 1, byte 3)"),
        ("a.csv", b"a,b\n\0,", "is not text (it holds NUL bytes)"),
        ("a.csv", b'a,b\n"c', "is not a table (line 2"),
        ("a.csv", (",".join(["n" * 50] * 100) + "\n" + "x,\n" * 50_000).encode(), "holds more than 1,048,576 bytes"),
        ("a.json", b'{"a": 1,}', "is not JSON (line 1"),
        ("a.jsonl", b'{"a": 1}\n{"a": ', "is not JSON (line 2"),
        ("a.json", b"[" * 100 + b"]" * 100, "is nested deeper than 64 levels"),
        ("a.json", b"[" * 500_000 + b"]" * 500_000, "is nested deeper than 64 levels"),
        ("a.json", b'{"a":' * 200_000, "is nested deeper than 64 levels"),
        ("a.md", b"x" * (1 << 20) + b"x", "holds more than 1,048,576 bytes of text"),
        ("a.txt", "text".encode("utf-16"), "is UTF-16 text"),
    ],
    ids=range(20),
)
def test_what_cannot_be_read_is_said(reader: Reader, path: str, data: bytes, reason: str) -> None:
    """Each is refused with what it is and what to do, or read as far as it can be; the next document is read."""
    assert reason in refusal(reader, path, data)
    assert shown(reader.read("csv", "b.csv", b"a\n1\n", LIMITS)) == [(2, "a: 1")]


def test_an_encryption_that_nothing_here_reads_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every machine has what reads AES."""

    def decrypt(*_: object) -> None:
        raise DependencyError("cryptography>=3.1 is required for AES algorithm")

    monkeypatch.setattr(PdfReader, "decrypt", decrypt)
    with pytest.raises(BadDocument, match=r"is encrypted in a way that cannot be read here .*: save it without"):
        find_formats()["pdf"].read(pdf(["x"], password="p"), ".pdf", LIMITS)


@settings(deadline=None, max_examples=60)
@given(made=st.sampled_from([pdf(["Cats purr."], ["Dogs bark."]), docx(("", "Cats purr."))]), data=st.data())
def test_no_damage_does_harm(reader: Reader, made: bytes, data: st.DataObject) -> None:
    """Whatever bytes of a document are others, or missing: it is read, or refused for a reason."""
    at = data.draw(st.integers(0, len(made) - 1))
    broken = made[:at] + data.draw(st.binary(max_size=4)) + made[at + data.draw(st.integers(0, 40)) :]
    path = "a.pdf" if made.startswith(b"%PDF") else "a.docx"
    said = refusal(reader, path, broken)
    assert not said or ": " in said


def test_a_document_that_takes_too_long_is_left_out(reader: Reader) -> None:
    """The process that reads it is ended, and another one reads the next document."""
    slow = json.dumps([{"a": n} for n in range(100_000)]).encode()
    with pytest.raises(BadDocument, match=r"takes longer than 0.1 s to read, which is maxTime"):
        reader.read("json", "a.json", slow, Limits(64 << 20, 0.1))
    assert shown(reader.read("csv", "b.csv", b"a\n1\n", LIMITS)) == [(2, "a: 1")]


def test_a_document_that_needs_too_much_memory_is_left_out(reader: Reader) -> None:
    """The process has a bound of its own."""
    wide = b"<p>" + b"<b>x</b>" * 100
    assert reader.read("html", "a.html", wide, LIMITS).lines
    greedy = b"[" + b'{"a":0},' * 8_000_000 + b"0]"
    with pytest.raises(BadDocument, match="needs more memory than a document may take"):
        reader.read("json", "a.json", greedy, Limits(1 << 30, 60))
    assert reader.read("html", "a.html", wide, LIMITS).lines


def test_a_process_that_was_killed_is_begun_again(reader: Reader) -> None:
    """Whoever ended it, the next document is read."""
    assert reader.read("csv", "b.csv", b"a\n1\n", LIMITS).lines
    process = reader._process
    assert process is not None
    process.kill()
    process.wait()
    assert reader.read("csv", "b.csv", b"a\n1\n", LIMITS).lines
    reader.close()
    assert process.poll() is not None


# In a knowledge base


async def test_a_passage_of_each_format_is_found_and_cited(lab: "Lab") -> None:
    """Each format is read by default or when a pattern fits it, and its passages say where they stand."""
    lab.write("a.pdf", pdf(["Nothing."], ["Otters hold hands."]))
    lab.write("b.docx", docx(("Heading 1", "Foxes"), ("", "Foxes eat berries.")))
    lab.write("c.html", "<nav>Menu</nav>\n<h1>Owls</h1>\n<p>Owls fly at night.</p>")
    lab.write("d.csv", "animal,food\nbear,honey\n")
    lab.write("e.json", '{"wolf": {"lives in": "packs"}}')
    lab.write("f.py", '"""Module."""\n\n\ndef badger():\n    return "sett"\n')
    source = {"path": "docs", "include": ["**/*"]}
    async with lab.open(sources=[source], retrieval={"mode": "keyword"}) as base:
        assert base.unreadable == ()
        found = {word: (await base.search(word))[0] for word in ("otters", "foxes", "owls", "honey", "packs", "badger")}
    assert {word: (one.source, one.title) for word, one in found.items()} == {
        "otters": ("docs/a.pdf#page=1-2", "a.pdf"),
        "foxes": ("docs/b.docx#paragraph=2", "Foxes"),
        "owls": ("docs/c.html:3-3", "Owls"),
        "honey": ("docs/d.csv:2-2", "d.csv"),
        "packs": ("docs/e.json:1-1", "e.json"),
        "badger": ("docs/f.py:1-5", "f.py"),
    }


async def test_a_document_that_cannot_be_read_stops_no_other(lab: "Lab") -> None:
    """It is told with its reason; what was indexed of it before stays."""
    lab.write("a.pdf", pdf(["Otters hold hands."]))
    lab.write("b.md", "Cats purr.")
    async with lab.open() as base:
        lab.write("a.pdf", pdf(["Otters hold hands."], password="p"))
        await base.refresh()
        assert (await base.search("otters"))[0].source == "docs/a.pdf#page=1"
        assert [one.path for one in base.unreadable] == ["docs/a.pdf"]
    told = [event.data for event in lab.events if isinstance(event.data, DocumentSkipped)]
    assert "is encrypted with a password" in told[-1].reason
    assert told[-1].reason.endswith("; what was read of it before is found, and may be old")


async def test_what_cannot_be_read_is_not_tried_on_every_look(lab: "Lab", monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again once it is another document, or everything is; it is told all the time, by one event."""
    read, tried = Reader.read, list[str]()

    def counted(reader: Reader, name: str, path: str, data: bytes, limits: Limits) -> Content:
        tried.append(path)
        return read(reader, name, path, data, limits)

    monkeypatch.setattr(Reader, "read", counted)
    lab.write("a.pdf", pdf(["Otters."], password="p"))
    lab.write("b.md", "Cats purr.")
    async with lab.open() as base:
        for number in range(3):
            lab.write("b.md", f"Cats purr {number}.")
            await base.refresh()
            assert ["is encrypted with a password" in one.reason for one in base.unreadable] == [True]
        assert tried.count("docs/a.pdf") == 1
        await base.rebuild()
        assert tried.count("docs/a.pdf") == 2
        lab.write("a.pdf", pdf(["Otters hold hands."]))
        await base.refresh()
        assert base.unreadable == ()
        assert (await base.search("otters"))[0].source == "docs/a.pdf#page=1"
    assert len([event for event in lab.events if isinstance(event.data, DocumentSkipped)]) == 1


async def test_formats_are_read_in_a_process_of_their_own(lab: "Lab") -> None:
    """No parser of a hostile format is loaded by the daemon, and none of its processes is left."""
    lab.write("a.pdf", pdf(["Otters."]))
    async with lab.open() as base:
        assert len(base) == 1
        assert base._library._reader._process is None


@pytest.mark.parametrize(
    "text",
    [
        "# a" + " " * 200_000 + "b\n",
        "#" * 6 + " " + "# " * 100_000,
        "---\na0: &a0 [x]\n"
        + "\n".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))
        + "\n---\nText.\n",
        "---\na: &a [*a]\nb: 0x" + "f" * 5000 + "\nc: 2026-01-02\n---\nText.\n",
    ],
    ids=["spaces", "marks", "aliases", "circle"],
)
async def test_markdown_is_read_at_once(lab: "Lab", text: str) -> None:
    """Nothing in a heading or a front matter takes long, or keeps other documents from being read."""
    lab.write("hostile.md", text)
    lab.write("other.md", "Cats purr.")
    began = time.perf_counter()
    async with lab.open(retrieval={"mode": "keyword"}) as base:
        assert (await base.search("cats"))[0].source == "docs/other.md:1-1"
    assert time.perf_counter() - began < 40
