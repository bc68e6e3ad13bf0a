"""Templates: what is allowed, and what is refused before a run."""

import time

import pytest

from loomd.errors import Permanent
from loomd.manifest.template import check_template, code_size, render


def test_text_without_braces_is_itself() -> None:
    """Any text that is no template is its own rendering."""
    assert render("100 % of {this}") == "100 % of {this}"
    assert check_template("100 % of {this}", set()) == []


def test_values_are_filled_in() -> None:
    """Variables, conditions and loops work; a trailing newline stays."""
    text = "Hi {{ agent|upper }}{% for t in tools %} {{ t }}{% endfor %}{% if goal %}!{% endif %}\n"
    assert check_template(text, {"agent", "tools", "goal"}) == []
    assert render(text, agent="a", tools=["x", "y"], goal="g") == "Hi A x y!\n"


def test_values_are_never_templates() -> None:
    """A value that looks like a template stays as it is."""
    assert render("{{ goal }}", goal="{{ 7 * 7 }}") == "{{ 7 * 7 }}"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{{ gaol }}", 'unknown variable "gaol"'),
        ("{% if goal %}", "Unexpected end of template"),
        ("{% if goal %}\n{% end %}", "line 2 of the template: Encountered unknown tag 'end'"),
        ("{{ goal|nothing }}", 'unknown filter "nothing"'),
        ("{% if goal %}{{ goal|nothing }}{% endif %}", 'unknown filter "nothing"'),
        ("{% filter nothing %}{% endfilter %}", 'unknown filter "nothing"'),
        ("{% if goal is nothing %}{% endif %}", 'unknown test "nothing"'),
        ("{{ goal.size }}", '"goal" has no field "size"'),
        ("{{ goal['size'] }}", '"goal" has no field "size"'),
        ("{{ self }}", 'unknown variable "self"'),
        ("{{ loop.index }}", 'unknown variable "loop"'),
        ("{% for a in goal %}{% endfor %}{{ a }}", 'unknown variable "a"'),
        ("{% extends 'x' %}", "extends is not allowed"),
        ("{% import 'x' as y %}", "import is not allowed"),
        ("{% from 'x' import y %}", "import is not allowed"),
        ("{{ range(9) }}", "call is not allowed"),
        ("{{ 9 ** 9 }}", "** is not allowed"),
        ("{{ 'a' * 999999999 }}", "* is not allowed"),
        ("{% include 'x' %}", "include is not allowed"),
        ("{% macro f() %}{% endmacro %}", "macro is not allowed"),
        ("{% for a in goal %}{% for b in goal %}{% for c in goal %}{% endfor %}{% endfor %}{% endfor %}", "loops nest"),
        ("{{ " + "(" * 5000 + "goal" + ")" * 5000 + " }}", "deeply nested"),
        ("{{ " + "9" * 5000 + " }}", "impossible number"),
        ("{{ goal }}" + "x" * 70_000, "longer than"),
    ],
    ids=[
        "variable",
        "syntax",
        "tag",
        "filter",
        "filter-inside",
        "filter-block",
        "test",
        "field",
        "item",
        "self",
        "loop-outside",
        "loop-variable",
        "extends",
        "import",
        "from",
        "call",
        "power",
        "times",
        "include",
        "macro",
        "loops",
        "nesting",
        "digits",
        "size",
    ],
)
def test_bad_template_is_told(text: str, part: str) -> None:
    """What is unknown, broken or could run away is refused in words."""
    assert any(part in fault.message for fault in check_template(text, {"goal"}))


def test_all_faults_are_told_with_their_places() -> None:
    """Every fault has its line and column, and what there is instead."""
    text = "gaol {{ goal }}\n  {{ gaol }} and {{ goal.size|uper }}\r\n{% if glod is evn %}{% include 'x' %}{% endif %}"
    found = [(one.line, one.column, one.message, one.hint) for one in check_template(text, {"goal"})]
    assert found == [
        (2, 6, 'line 2 of the template: unknown variable "gaol"', 'did you mean "goal"?'),
        (2, 26, 'line 2 of the template: "goal" has no field "size"', "it holds no fields: write {{ goal }}"),
        (2, 31, 'line 2 of the template: unknown filter "uper"', 'did you mean "upper"?'),
        (3, 7, 'line 3 of the template: unknown variable "glod"', "known variables: goal"),
        (3, 15, 'line 3 of the template: unknown test "evn"', 'did you mean "even"?'),
        (3, 24, "line 3 of the template: include is not allowed here", "write the text here, or make it a skill"),
    ]


def test_own_variables_and_fields_of_what_a_loop_knows() -> None:
    """What a template sets itself may be used, and so may what Jinja2 gives a loop."""
    text = (
        "{% set a = goal %}{{ a.x }}{% for b in goal %}{{ b }}{{ loop.index }}{% endfor %}{% raw %}{{ c }}{% endraw %}"
    )
    assert check_template(text, {"goal"}) == []


@pytest.mark.parametrize("part", ["{{a%d}}", "{{1|a%d}}", "{{goal.a%d}}", "{%%if 1 is a%d%%}{%%endif%%}"])
def test_many_faults_are_told_in_no_time(part: str) -> None:
    """A template that is nothing but faults is given up after some of them."""
    text = "".join(part % number for number in range(2000))
    took: list[float] = []
    for _ in range(3):
        before = time.process_time()
        assert len(check_template(text, {"goal"})) == 20
        took.append(time.process_time() - before)
    assert min(took) < 1


@pytest.mark.parametrize(
    ("name", "allowed", "hint"),
    [
        ("gaol", {"agent", "goal"}, 'did you mean "goal"?'),
        ("x", {"agent", "goal"}, "known variables: agent, goal"),
        ("x", set[str](), "no variables are known here"),
    ],
    ids=["close", "far", "none"],
)
def test_unknown_variable_gets_a_hint(name: str, allowed: set[str], hint: str) -> None:
    """The closest variable is named, or all of them when none is close."""
    (fault,) = check_template(f"{{{{ {name} }}}}", allowed)
    assert fault.hint == hint


@pytest.mark.parametrize(
    "text",
    [
        "{{ 1|round(999999999, 'ceil') }}",
        "{{ ['a']|batch(999999999, 'x')|list }}",
        "{{ '" + "a" * 30_000 + "'|list|join('" + "b" * 30_000 + "') }}",
        "{% if 1|round(999999999, 'ceil') %}x{% endif %}",
        "{% for a in 'x'|batch(999999999, 'x') %}x{% endfor %}",
    ],
    ids=["round", "batch", "join", "condition", "loop"],
)
def test_a_check_evaluates_nothing(text: str) -> None:
    """A constant expression that would take all time or memory is looked at, not computed."""
    before = time.process_time()
    assert check_template(text, set()) == []
    assert time.process_time() - before < 1


@pytest.mark.parametrize(
    ("before", "middle", "after"),
    [
        ("{% if goal %}", "x", "{% endif %}"),
        ("{{ " + "(" * 45, "goal", ")" * 45 + " }}"),
        ("{{ " + "not " * 45, "goal", " }}"),
        ("{{ ", "goal", "|upper" * 45 + " }}"),
        ("{{ ", "goal", "[0]" * 45 + " }}"),
        ("{{ " + "goal if goal else " * 45, "goal", " }}"),
        ("{{ " + "[" * 45, "goal", "]" * 45 + " }}"),
    ],
    ids=["blocks", "parentheses", "not", "filters", "items", "conditions", "lists"],
)
def test_what_passes_the_check_can_be_compiled(before: str, middle: str, after: str) -> None:
    """Python compiles whatever is nested as deep as allowed: rendering says nothing of the template itself."""
    text = before * 45 + middle + after * 45 if "if goal %" in before else before + middle + after
    assert check_template(text, {"goal"}) == []
    goal: object = "x"
    for _ in range(45):
        goal = [goal]
    assert render(text, goal=goal)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("no { code } at all", 0),
        ("{{ goal }}", 24),
        ("a {{ goal }} b {% if goal %}c{% endif %}", 24 + 27 + 25),
        ("{{ '}}' ~ goal }}", 31),
        ('{{ "\\"}}" ~ goal }}', 33),
        ("{{ goal", 23),
        ("{{ 'goal", 19),
    ],
    ids=["none", "one", "three", "quoted", "escaped", "open", "open-quote"],
)
def test_size_of_code(text: str, size: int) -> None:
    """What stands between braces counts, and each pair of them; a quoted brace ends nothing."""
    assert code_size(text) == size


def test_rendering_is_bounded_and_strict() -> None:
    """A missing value, forbidden attributes and endless output raise."""
    with pytest.raises(Permanent, match="goal"):
        render("{{ goal }}")
    with pytest.raises(Permanent, match="unsafe"):
        render("{{ goal.__class__.__mro__ }}", goal="x")
    with pytest.raises(Permanent, match="grew beyond"):
        render("{% for a in goal %}{% for b in goal %}xxxxxxxxxx{% endfor %}{% endfor %}", goal="x" * 1000)
