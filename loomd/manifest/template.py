"""Templates in manifests: Jinja2 in a sandbox, checked when manifests are, so that a typo is found before a run.

A spec field that is a template says so: `Annotated[str, Template("goal", "json.*")]`. Only the named variables exist,
and only what a prompt needs: no calls, imports, macros, ranges or arithmetic that could eat time and memory. A check
makes the Python code of a template and evaluates nothing, not even constants. Jinja2 is imported when a text holds
`{{`, `{%` or `{#`; any other text is its own rendering.
"""

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Final

from loomd.errors import Permanent
from loomd.manifest.inspection import CODE, MAX_FAULTS, Fault, environment, fault_at, inspect
from loomd.manifest.wording import did_you_mean, listed, quoted

MAX_TEXT = 64 << 10
"""Longest template in characters."""
MAX_OUTPUT = 1 << 20
"""Longest rendering in characters."""

_SPECIAL = re.compile(r"\{(?=[{%#])|\r")
"""What a template does not render as it is: a brace that begins a tag, and a line break that it makes another of."""
_FIELDS = ".*"
"""Ends the name of a variable that holds fields."""
_PER_TAG = 16
"""Characters that a tag counts for beside its own: what is made of a short one costs as much."""


class Template:
    """Marks a string field as a template and names the variables that it may use; `name.*` is one that holds fields."""

    __slots__ = ("variables",)

    def __init__(self, *variables: str) -> None:
        self.variables: Final = frozenset(variables)

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        """Add `x-loomd-template`, the variables, to the field's JSON Schema."""
        return {**handler(core_schema), "x-loomd-template": sorted(self.variables)}


def is_template(text: str) -> bool:
    """Return whether a text has anything to render."""
    return "{{" in text or "{%" in text or "{#" in text


def literal(text: str) -> str:
    """Return a template that renders to a text letter by letter, whatever braces are in it."""
    return _escaped(text) if is_template(text) else text


def continued(template: str, text: str) -> str:
    """Return a template that renders to what another does, and then an empty line and a text, letter by letter."""
    if not template:
        return literal(text)
    if is_template(template):
        return f"{template}\n\n{_escaped(text)}"
    return literal(f"{template}\n\n{text}")


def holds(template: str, text: str) -> bool:
    """Return whether a text was written into a template, as `literal` and `continued` do."""
    return literal(text) in template or _escaped(text) in template


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda found: "{{ '{' }}" if found[0] == "{" else "{{ '\\r' }}", text)


def code_size(text: str) -> int:
    """Return how much there is to check in a text: the characters between braces, and some for each pair of them."""
    return sum(len(found[0]) + _PER_TAG for found in CODE.finditer(text))


def check_template(text: str, allowed: Collection[str]) -> list[Fault]:
    """Return what is wrong with a template, by line.

    Args:
        text: the template.
        allowed: names of the variables that will be given; each is a text or a list of texts, or holds fields when it
            is written `name.*`.
    """
    if not is_template(text):
        return []
    if len(text) > MAX_TEXT:
        return [Fault(0, 0, f"the template is longer than {MAX_TEXT:,} characters", "shorten it, or make it a skill")]
    found = inspect(text)
    faults = list(found.faults)
    plain = {name for name in allowed if not name.endswith(_FIELDS)}
    allowed = {name.removesuffix(_FIELDS) for name in allowed}
    known = listed(sorted(allowed))
    unknown = ((line, name) for name, line in found.names.items() if name not in allowed)
    for line, name in sorted(unknown)[:MAX_FAULTS]:
        hint = did_you_mean(name, sorted(allowed), "known variables:") or "no variables are known here"
        expected, got = f"one of {known}" if known else "no variable", quoted(name)
        faults.append(fault_at(text, line, f"unknown variable {got}", name, hint=hint, expected=expected, got=got))
    for line, name, field in [one for one in found.fields if one[1] in plain][:MAX_FAULTS]:
        message, hint = f"{quoted(name)} has no field {quoted(field)}", f"it holds no fields: write {{{{ {name} }}}}"
        faults.append(fault_at(text, line, message, field, hint=hint, expected=f"{name} alone", got=quoted(field)))
    return sorted(set(faults))[:MAX_FAULTS]


def render(text: str, /, **values: object) -> str:
    """Return a template with its variables filled in.

    Raises:
        Permanent: the template is wrong, a variable is missing, or the result is too long.
    """
    if not is_template(text):
        return text
    named = inspect(text).names
    given = {name: value for name, value in values.items() if name in named}
    if all(isinstance(value, str) for value in given.values()):
        return _filled_before(text, *given.items())
    return _filled(text, given)


@lru_cache(maxsize=64)
def _filled_before(text: str, *given: tuple[str, object]) -> str:
    """Return a rendering that may be one of the last ones: most prompts are the same for every task of an agent."""
    return _filled(text, dict(given))


def _filled(text: str, values: Mapping[str, object]) -> str:
    """Return a template with the variables filled in that it names.

    Raises:
        Permanent: the template is wrong, a variable is missing, or the result is too long.
    """
    template = _compile(text)
    parts: list[str] = []
    size = 0
    try:
        for part in template.generate(**values):
            size += len(part)
            if size > MAX_OUTPUT:
                break
            parts.append(part)
    except Exception as error:
        raise Permanent(f"a template cannot be rendered: {error}") from error
    if size > MAX_OUTPUT:
        raise Permanent(f"a template's text grew beyond {MAX_OUTPUT:,} characters: shorten it")
    return "".join(parts)


@lru_cache(maxsize=256)
def _compile(text: str) -> Any:
    """Return the compiled template.

    Raises:
        Permanent: it is wrong; the text names the line.
    """
    for fault in inspect(text).faults:
        raise Permanent(fault.message)
    return environment().from_string(text)
