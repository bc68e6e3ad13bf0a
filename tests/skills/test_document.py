"""Documents of skills, as they are published."""

from pathlib import Path

import pytest

from loomd.errors import Permanent
from loomd.skills.document import SkillDocument, read_skill

WHOLE = """\
---
# what authors write
name: pdf-forms
description: >-
  Fills forms. Use it when: somebody says "form",

  or shows one.
license: "Apache-2.0"
compatibility: Needs a reader of PDF files.
metadata:
  author: someone
  version: "1.0"
  released: 2025-10-01
  1: [a, {b: null}]
allowed-tools: Bash(git add:*) Bash(jq:*), Read
argument-hint: [form]
base: &base {a: 1}
more: {<<: *base}
odd: !!str 7
huge: 123456789012345678901234567890
---

# Forms

Read `references/fields.md`.
"""


def read(folder: Path, text: str, limit: int = 1 << 16) -> SkillDocument:
    """Return what a document of this text says."""
    (folder / "SKILL.md").write_bytes(text.encode())
    return read_skill(folder / "SKILL.md", limit)


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "windows"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte-order-mark"])
def test_every_feature_of_the_format(end: str, mark: str, tmp_path: Path) -> None:
    """Folded and quoted text, lists, mappings, keys that nobody knows and YAML that manifests refuse are all taken."""
    found = read(tmp_path, mark + WHOLE.replace("\n", end))
    assert found.name == "pdf-forms"
    assert found.description == 'Fills forms. Use it when: somebody says "form",\nor shows one.'
    assert found.instructions == "# Forms\n\nRead `references/fields.md`."
    assert (found.compatibility, found.tools, found.hidden) == ("Needs a reader of PDF files.", ("Bash", "Read"), False)
    assert list(found.faults("pdf-forms")) == []


@pytest.mark.parametrize(
    ("value", "tools"),
    [
        pytest.param("Read Grep", ("Read", "Grep"), id="spaces"),
        pytest.param("Read, Write,Bash", ("Read", "Write", "Bash"), id="commas"),
        pytest.param("Bash(git add:*), Bash(git log:*), Read", ("Bash", "Read"), id="patterns"),
        pytest.param("[Read, 'Bash(npm run:*)', mcp__db__query]", ("Read", "Bash", "mcp__db__query"), id="list"),
        pytest.param('""', (), id="none-at-all"),
        pytest.param("[]", (), id="empty-list"),
        pytest.param("", None, id="unset"),
    ],
)
def test_allowed_tools(value: str, tools: tuple[str, ...] | None, tmp_path: Path) -> None:
    """Names stand in a text or a list; patterns of arguments are left aside."""
    assert read(tmp_path, f"---\nname: a\ndescription: b\nallowed-tools: {value}\n---\n").tools == tools


@pytest.mark.parametrize(("value", "hidden"), [("true", True), ("false", False), ("maybe", False)])
def test_a_skill_may_hide_from_models(value: str, hidden: bool, tmp_path: Path) -> None:
    """A key that other programs know keeps a model from taking it up by itself."""
    text = f"---\nname: a\ndescription: b\ndisable-model-invocation: {value}\n---\n"
    assert read(tmp_path, text).hidden is hidden


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("# Tides\n", "does not begin with front matter", id="none"),
        pytest.param("---\nname: a\n", "without a closing line", id="open"),
        pytest.param("---\nname: a\n---\n", 'has no "description"', id="no-description"),
        pytest.param("---\nname: a\ndescription: '  '\n---\n", 'has no "description"', id="blank-description"),
        pytest.param("---\ndescription: a\n---\n", 'has no "name"', id="no-name"),
        pytest.param("---\nname: 7\ndescription: a\n---\n", 'has no "name"', id="name-is-number"),
        pytest.param('---\nname: "a\\nb"\ndescription: c\n---\n', "a name of several lines", id="name-of-two-lines"),
        pytest.param("---\n- a\n---\n", "not a mapping", id="list"),
        pytest.param("---\n---\n", "not a mapping", id="empty"),
        pytest.param("---\nname: [a\n---\n", "front matter: ", id="broken"),
        pytest.param("---\nname: a\nname: b\n---\n", "already set", id="twice"),
        pytest.param("---\nname: a\nx: 1: 2\n---\n", "front matter: SKILL.md:3:5: ", id="line"),
        pytest.param(f"---\nx: {'[' * 5000}\n---\n", "front matter: ", id="nesting"),
        pytest.param("---\nname: a\ndescription: b\nallowed-tools: {a: b}\n---\n", "allowed-tools", id="tools"),
        pytest.param("---\nname: a\ndescription: b\n---\n" + "x" * 70_000, "larger than", id="size"),
    ],
)
def test_what_cannot_be_read(text: str, message: str, tmp_path: Path) -> None:
    """A document without name or description, or with a text that is no YAML, is refused, with its line."""
    with pytest.raises(Permanent, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "folder", "fault"),
    [
        pytest.param("pdf-2", "pdf-2", "", id="right"),
        pytest.param("werkzeug-ä", "werkzeug-ä", "", id="unicode"),
        pytest.param("PDF", "PDF", "a name of lower-case", id="capitals"),
        pytest.param("-pdf", "-pdf", "a name of lower-case", id="hyphen-first"),
        pytest.param("pdf--a", "pdf--a", "a name of lower-case", id="two-hyphens"),
        pytest.param("pdf tool", "pdf tool", "a name of lower-case", id="space"),
        pytest.param("pdf", "other", 'the name of its folder, "other", got "pdf"', id="folder"),
        pytest.param("pdf", None, "", id="no-folder"),
        pytest.param("p" * 64, "p" * 64, "", id="longest"),
        pytest.param("p" * 65, "p" * 65, "a name of at most 64 characters, got 65", id="too-long"),
    ],
)
def test_rules_of_names(name: str, folder: str | None, fault: str) -> None:
    """A name is spelled as the format has it, is not too long, and is that of the folder."""
    found = list(SkillDocument(name, "x", "").faults(folder))
    assert len(found) == bool(fault)
    assert fault in "".join(f"{expected}, got {got}" for expected, got in found)


def test_rules_of_lengths() -> None:
    """Description and compatibility have a longest length each."""
    assert not list(SkillDocument("a", "d" * 1024, "", "c" * 500).faults("a"))
    assert list(SkillDocument("a", "d" * 1025, "", "c" * 501).faults("a")) == [
        ("a description of at most 1024 characters", "1025"),
        ("a compatibility of at most 500 characters", "501"),
    ]
