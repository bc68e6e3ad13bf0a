"""Templates: what is allowed, and what is refused before a run."""

import pytest

from loomd.errors import Permanent
from loomd.manifest.template import check_template, render


def test_text_without_braces_is_itself() -> None:
    """Any text that is no template is its own rendering."""
    assert render("100 % of {this}") == "100 % of {this}"
    assert check_template("100 % of {this}", set()) is None


def test_values_are_filled_in() -> None:
    """Variables, conditions and loops work; a trailing newline stays."""
    text = "Hi {{ agent|upper }}{% for t in tools %} {{ t }}{% endfor %}{% if goal %}!{% endif %}\n"
    assert check_template(text, {"agent", "tools", "goal"}) is None
    assert render(text, agent="a", tools=["x", "y"], goal="g") == "Hi A x y!\n"


def test_values_are_never_templates() -> None:
    """A value that looks like a template stays as it is."""
    assert render("{{ goal }}", goal="{{ 7 * 7 }}") == "{{ 7 * 7 }}"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{{ gaol }}", "unknown variable gaol"),
        ("{% if goal %}", "line 1"),
        ("{{ goal|nothing }}", "nothing"),
        ("{{ range(9) }}", "call is not allowed"),
        ("{{ 9 ** 9 }}", "pow is not allowed"),
        ("{{ 'a' * 999999999 }}", "mul is not allowed"),
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
        "filter",
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
    assert part in (check_template(text, {"goal"}) or "")


def test_rendering_is_bounded_and_strict() -> None:
    """A missing value, forbidden attributes and endless output raise."""
    with pytest.raises(Permanent, match="goal"):
        render("{{ goal }}")
    with pytest.raises(Permanent, match="unsafe"):
        render("{{ goal.__class__.__mro__ }}", goal="x")
    with pytest.raises(Permanent, match="grew beyond"):
        render("{% for a in goal %}{% for b in goal %}xxxxxxxxxx{% endfor %}{% endfor %}", goal="x" * 1000)
