"""Text out of JSON: the spelling of kubectl, that of RFC 9535, and what is neither."""

import pytest

from loomd.cli.jsonpath import Template
from loomd.errors import Permanent

THINGS = {
    "items": [
        {
            "metadata": {"name": "ada", "labels": {"app.kubernetes.io/name": "x", "team": "docs"}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Stalled", "status": "False"}]},
            "spec": {"steps": 8, "on": True, "none": None, "tools": ["a", "b"]},
        },
        {"metadata": {"name": "bob"}, "spec": {"steps": 2}},
    ]
}


@pytest.mark.parametrize(
    ("template", "made"),
    [
        pytest.param("{.items[*].metadata.name}", "ada bob", id="kubectl"),
        pytest.param("$.items[*].metadata.name", "ada bob", id="rfc"),
        pytest.param(".items[0].metadata.name", "ada", id="without-braces"),
        pytest.param("items[0].metadata.name", "ada", id="without-dot"),
        pytest.param("{$.items[1].metadata.name}", "bob", id="both"),
        pytest.param("{@.items[1].metadata.name}", "bob", id="at"),
        pytest.param("{..name}", "ada bob", id="descend"),
        pytest.param('{.items[?(@.metadata.name=="ada")].spec.steps}', "8", id="filter"),
        pytest.param("{.items[?(@.spec.steps<5)].metadata.name}", "bob", id="compare"),
        pytest.param(r"{.items[0].metadata.labels.app\.kubernetes\.io/name}", "x", id="escaped-dots"),
        pytest.param("{.items[0].metadata.labels['app.kubernetes.io/name']}", "x", id="quoted-name"),
        pytest.param("{.items[-1:].metadata.name}", "bob", id="slice"),
        pytest.param("{.items[0].spec.on} {.items[0].spec.none}", "true null", id="json-words"),
        pytest.param("{.items[0].spec.tools}", '["a", "b"]', id="list"),
        pytest.param("{.nothing.here}", "", id="nothing"),
        pytest.param(
            '{range .items[*]}{.metadata.name}{"\\t"}{.spec.steps}{"\\n"}{end}', "ada\t8\nbob\t2\n", id="range"
        ),
        pytest.param("{range .items[*]}[{.metadata.name}]{end} done", "[ada][bob] done", id="text"),
        pytest.param(
            "{range .items[*]}{.metadata.name}:{range .status.conditions[*]} {.type}{end};{end}",
            "ada: Ready Stalled;bob:;",
            id="nested",
        ),
        pytest.param("{'a}b'}{.items[1].metadata.name}", "a}bbob", id="brace-in-quotes"),
        pytest.param("plain {.items[0].spec.steps}", "plain 8", id="text-first"),
    ],
)
def test_what_a_template_makes(template: str, made: str) -> None:
    """Expressions are found, texts stand as they are, loops repeat."""
    assert Template(template).render(THINGS) == made


@pytest.mark.parametrize(
    ("template", "says"),
    [
        pytest.param("{.items[*", "close the brace", id="open-brace"),
        pytest.param("{.items[*}", "is not valid", id="open-bracket"),
        pytest.param("{range .items[*]}x", r"without \{end\}", id="no-end"),
        pytest.param("x{end}", r"without \{range\}", id="no-range"),
        pytest.param("$.items[?(@.x]", "is not valid", id="filter"),
        pytest.param("a}b{c}", "close the brace", id="stray-brace"),
    ],
)
def test_what_is_no_template_is_refused(template: str, says: str) -> None:
    """A template that cannot be read is refused before anything is asked for."""
    with pytest.raises(Permanent, match=says):
        Template(template)
