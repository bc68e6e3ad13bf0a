"""Templates in manifests: Jinja2 in a sandbox, checked when manifests are, so that a typo is found before a run.

A spec field that is a template says so: `Annotated[str, Template("goal", "date")]`. Only the named variables exist,
and only what a prompt needs: no calls, imports, macros, ranges or arithmetic that could eat time and memory. Jinja2 is
imported when a text holds `{{`, `{%` or `{#`; any other text is its own rendering.
"""

from collections.abc import Collection
from functools import cache, lru_cache
from typing import Any, Final

from loomd.errors import Permanent

MAX_TEXT = 64 << 10
"""Longest template in characters."""
MAX_OUTPUT = 1 << 20
"""Longest rendering in characters."""
MAX_LOOPS = 2
"""Deepest nesting of loops."""


class Template:
    """Marks a string field as a template and names the variables that it may use."""

    __slots__ = ("variables",)

    def __init__(self, *variables: str) -> None:
        self.variables: Final = frozenset(variables)

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        """Add `x-loomd-template`, the variables, to the field's JSON Schema."""
        return {**handler(core_schema), "x-loomd-template": sorted(self.variables)}


def is_template(text: str) -> bool:
    """Return whether a text has anything to render."""
    return "{{" in text or "{%" in text or "{#" in text


def check_template(text: str, allowed: Collection[str]) -> str | None:
    """Return what is wrong with a template, or None.

    Args:
        text: the template.
        allowed: names of the variables that will be given.
    """
    if not is_template(text):
        return None
    if len(text) > MAX_TEXT:
        return f"the template is longer than {MAX_TEXT:,} characters"
    try:
        unknown = _compile(text)[1] - set(allowed)
    except Permanent as error:
        return str(error)
    if unknown:
        known = ", ".join(sorted(allowed)) or "none"
        return f"unknown variable {', '.join(sorted(unknown))} (known: {known})"
    return None


def render(text: str, /, **values: object) -> str:
    """Return a template with its variables filled in.

    Raises:
        Permanent: the template is wrong, a variable is missing, or the result is too long.
    """
    if not is_template(text):
        return text
    template = _compile(text)[0]
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


@lru_cache(maxsize=1024)
def _compile(text: str) -> tuple[Any, frozenset[str]]:
    """Return the compiled template and the variables that it needs."""
    from jinja2 import TemplateSyntaxError, meta  # noqa: PLC0415  # costs as much as all of validation without it

    environment = _environment()
    try:
        tree = environment.parse(text)
        _check_nodes(tree)
        template = environment.template_class.from_code(environment, environment.compile(tree), {})
        return template, frozenset(meta.find_undeclared_variables(tree))
    except TemplateSyntaxError as error:
        raise Permanent(f"line {error.lineno} of the template: {error.message}") from None
    except (RecursionError, SyntaxError, ValueError, MemoryError):
        raise Permanent("the template is too deeply nested or holds an impossible number") from None


def _check_nodes(tree: Any) -> None:
    """Refuse what a prompt does not need and what could run for ever.

    Raises:
        Permanent: a construct is not allowed; the text names it.
    """
    from jinja2 import nodes  # noqa: PLC0415  # see `_compile`

    refused: tuple[type[Any], ...] = (
        *(nodes.Call, nodes.Macro, nodes.CallBlock, nodes.Block, nodes.Include, nodes.Import, nodes.FromImport),
        *(nodes.Extends, nodes.Mul, nodes.Pow, nodes.Mod),
    )
    pending: list[tuple[Any, int]] = [(tree, 0)]
    while pending:
        node, loops = pending.pop()
        if isinstance(node, refused):
            raise Permanent(f"line {node.lineno} of the template: {type(node).__name__.lower()} is not allowed here")
        if isinstance(node, nodes.For):
            loops += 1
            if loops > MAX_LOOPS or node.recursive:
                raise Permanent(f"line {node.lineno} of the template: loops nest at most {MAX_LOOPS} deep")
        pending.extend((child, loops) for child in node.iter_child_nodes())


@cache
def _environment() -> Any:
    from jinja2 import StrictUndefined  # noqa: PLC0415  # see `_compile`
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415  # see `_compile`

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, optimized=False, keep_trailing_newline=True)
    environment.globals.clear()
    for name in ("center", "format", "indent", "pprint", "random", "urlize", "wordwrap", "xmlattr"):
        environment.filters.pop(name, None)
    return environment
