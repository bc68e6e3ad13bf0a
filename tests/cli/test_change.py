"""A plan for people: signs, fields, texts line by line, hidden values, and what it means."""

from typing import Any

import pytest

from loomd.cli.change import describe, line, summary, unified


def change(
    action: str, *fields: dict[str, Any], means: tuple[str, ...] = (), name: str = "Agent/ada"
) -> dict[str, Any]:
    """Return a change as the API shows it."""
    return {"object": name, "action": action, "fields": list(fields), "means": list(means)}


def field(path: str, before: object, after: object, reload: str = "new-tasks") -> dict[str, Any]:
    """Return a field that differs."""
    return {"path": path, "before": before, "after": after, "reload": reload}


def plan(*changes: dict[str, Any], consequences: tuple[dict[str, str], ...] = ()) -> dict[str, Any]:
    """Return a plan as the API shows it."""
    return {"changes": list(changes), "consequences": list(consequences), "warnings": []}


def test_a_plan_says_what_changes_and_what_it_means(capsys: pytest.CaptureFixture[str]) -> None:
    """Every action has its sign, every field both values, and a clause is said once."""
    describe(
        plan(
            change("created", name="Agent/bob"),
            change(
                "changed",
                field("spec.steps", 8, 4, "immediate"),
                field("spec.domains.x", None, 0.5),
                field("spec.prompt", "You are Ada.\nBe brief.\nBe kind.\n", "You are Ada.\nBe long.\nBe kind.\n"),
            ),
            change("changed", field("spec.chunk", 1, 2), means=("the index is rebuilt",), name="KnowledgeBase/docs"),
            change("replaced", field("spec.type", "python", "http", "restart"), name="Tool/look"),
            change("deleted", name="Tool/old"),
            change("unchanged", name="Provider/p"),
            consequences=(
                {"type": "behaviour", "object": "Agent/ada", "message": "behaves differently"},
                {"type": "index", "object": "KnowledgeBase/docs", "message": "the index is rebuilt"},
                {"type": "tasks", "object": "", "message": "2 running end on revision 1"},
            ),
        )
    )
    assert (
        capsys.readouterr().out
        == """\
  + Agent/bob created
  ~ Agent/ada changed
      spec.steps      8 -> 4  (at once)
      spec.domains.x  (not set) -> 0.5  (new tasks)
      spec.prompt  (new tasks)
          You are Ada.
        - Be brief.
        + Be long.
          Be kind.
  ~ KnowledgeBase/docs changed
      spec.chunk  1 -> 2  (new tasks)
-/+ Tool/look replaced
      spec.type  "python" -> "http"  (after a restart)
  - Tool/old deleted

What it means
  Agent/ada behaves differently
  KnowledgeBase/docs the index is rebuilt
  tasks: 2 running end on revision 1
"""
    )


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        pytest.param("(hidden)", "(hidden)", "(hidden) -> (hidden), another value", id="secret"),
        pytest.param("a://***@h\nx", "a://***@h\nx", "(hidden) -> (hidden), another value", id="secret-in-a-text"),
        pytest.param(None, "a", '(not set) -> "a"', id="new"),
        pytest.param("a\x1b[31m", True, '"a\\u001b[31m" -> true', id="escape"),
        pytest.param("x" * 200, 1, f'"{"x" * 56}... -> 1', id="long"),
    ],
)
def test_values_are_short_and_harmless(
    before: object, after: object, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hidden value stays hidden, a long one is cut, and nothing steers the terminal."""
    describe(plan(change("changed", field("spec.x", before, after))))
    assert capsys.readouterr().out.splitlines()[1] == f"      spec.x  {shown}  (new tasks)"


def test_a_long_list_is_shown_item_by_item(capsys: pytest.CaptureFixture[str]) -> None:
    """Lists that do not fit on a line are compared line by line."""
    tools = [f"tool-number-{number}" for number in range(10)]
    describe(plan(change("changed", field("spec.tools", tools, [*tools, "another"]))))
    assert [text.strip() for text in capsys.readouterr().out.splitlines()[1:]] == [
        "spec.tools  (new tasks)",
        "...",
        "- tool-number-8",
        "- tool-number-9",
        "+ - another",
    ]


def test_text_of_a_prompt_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Escapes in a text of several lines are shown, not sent."""
    describe(plan(change("changed", field("spec.prompt", "a\nb", "a\n\x1b[2Jb"))))
    assert "\x1b" not in capsys.readouterr().out


def test_the_summary_counts() -> None:
    """What is to be done is counted by action; without anything it says so."""
    assert summary(plan(change("created"), change("created"), change("deleted"), change("unchanged"))) == (
        "2 to be created, 1 to be deleted; 1 unchanged"
    )
    assert summary(plan(change("unchanged"))) == "no changes; 1 unchanged"
    assert summary(plan()) == "no changes"


def test_a_line_names_a_few_fields() -> None:
    """On one line the first fields are named; without fields, the reason."""
    fields = [field(f"spec.f{number}", 1, 2) for number in range(6)]
    assert line(change("changed", *fields)) == "Agent/ada changed: spec.f0, spec.f1, spec.f2, spec.f3 and 2 more"
    assert (
        line(change("changed", means=("a file differs",)), " (dry run)")
        == "Agent/ada changed: a file differs (dry run)"
    )
    assert line(change("created")) == "Agent/ada created"


def test_a_diff_without_lines_says_why() -> None:
    """When only a file behind an object differs, both texts are equal, and the reason stands instead."""
    same = {"before": {"kind": "Tool"}, "after": {"kind": "Tool"}}
    assert list(unified(change("changed", means=("a file that it names has other contents",)) | same)) == [
        "# Agent/ada: a file that it names has other contents"
    ]
    assert list(unified(change("changed", field("root", "/a", "/b")) | same)) == ["# Agent/ada: its folder differs"]


def test_what_many_have_in_common_is_told_of_a_few(capsys: pytest.CaptureFixture[str]) -> None:
    """A change of a provider touches a thousand agents: ten of them are named, and the rest is counted."""
    many = tuple(
        {"type": "reopened", "object": f"Agent/a{number}", "message": "is opened anew"} for number in range(99)
    )
    describe(plan(change("changed", field("spec.model", "a", "b"), name="Provider/p"), consequences=many))
    told = capsys.readouterr().out.splitlines()
    assert told[-2:] == ["  Agent/a9 is opened anew", "  and 89 more like this; -o json tells all"]


def test_where_relative_paths_start_is_named_in_words() -> None:
    """`root` is no field that anybody could look for in a manifest."""
    moved = change("changed", field("root", "/a", "/b"))
    assert line(moved) == "Agent/ada changed: its folder"
