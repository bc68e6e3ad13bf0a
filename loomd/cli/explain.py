"""`loomd explain`: says what a kind or a field is for, from the same schema that checks it, or why a task went so."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import click
from click.shell_completion import CompletionItem

from loomd.cli.schema import find_kind, names_of_kinds
from loomd.cli.target import TASKS, Client, get_one, namespace_option, socket_option, wanted
from loomd.errors import NotFound
from loomd.manifest.annotation import RELOAD
from loomd.manifest.kind import API_VERSION, find_kinds
from loomd.manifest.outline import Node, outline
from loomd.manifest.schema import schema_of
from loomd.manifest.source import printable
from loomd.settings import SCHEMA, settings_schema

_WIDTH = 100
_CHANGES = {
    "immediate": "act at once, on running tasks too",
    "new-tasks": "act on tasks that start later",
    "restart": "act after a restart",
}


def _complete(context: click.Context, option: click.Parameter, begun: str) -> list[CompletionItem]:
    del context, option
    above, dot, last = begun.rpartition(".")
    if not dot:
        found = names_of_kinds()
    else:
        try:
            node = _walk(above).node
        except NotFound:
            return []
        found = {f"{above}.{one.name}": one.description for one in [*node.fields(), *node.variants()]}
    return [CompletionItem(name, help=text) for name, text in found.items() if name.rpartition(".")[2].startswith(last)]


@click.command()
@click.argument("path", required=False, shell_complete=_complete, metavar="[PATH | task/T]")
@namespace_option
@socket_option
def command(path: str | None, namespace: str, client: Client) -> None:
    """Explain a kind or a field, or why a task went as it did; without an argument, list the kinds.

    PATH is a kind or a field of one, for example agent.spec.limits; `daemon` stands for the settings.
    Of task/T every decision is told: what was sensed and from what, every bid with its factors, weights and draw,
    whether it was split, why it stopped, what the reward is made of, and what was learned.
    """
    if path is not None and "/" in path:
        _task(client, path, namespace)
        return
    if path is None:
        kinds = find_kinds().values()
        width = max((len(kind.name) for kind in kinds), default=0)
        for kind in kinds:
            click.echo(f"{kind.name:<{width}}  {kind.summary}")
        return
    click.echo("\n".join(_explained(_walk(path), ".".join(path.split(".")[1:]))))


def _task(client: Client, path: str, namespace: str) -> None:
    """Say why a task went as it did."""
    from loomd.cli.course import trace  # noqa: PLC0415  # kinds and fields need none of this
    from loomd.cli.reasons.tell import tell  # noqa: PLC0415  # as above

    (one,) = wanted(client, [path], namespace)
    if one.place != TASKS:
        raise click.UsageError(
            f"{path}: only a task has decisions to explain; `loomd describe {path}` shows the object"
        )
    item = get_one(client, TASKS, one.namespace, one.names[0])
    for text in tell(item, trace(one.names[0], client.events(task=one.names[0]))):
        click.echo("\n".join(printable(line) for line in text.split("\n")))


class _Found(NamedTuple):
    """What a path leads to.

    Attributes:
        kind: name of the kind, or `daemon`.
        node: the field.
        types: the types that have the field, when only a type can have it.
    """

    kind: str
    node: Node
    types: Sequence[Node] = ()

    @property
    def chooses(self) -> bool:
        """Return whether it is the field that says which type is meant."""
        return bool(self.types) and self.node.name == "type"


def _walk(path: str) -> _Found:
    """Return what a dotted path leads to.

    Raises:
        NotFound: there is no such kind, field or type; the text names the closest.
    """
    first, *rest = path.split(".")
    settings = first.lower() == SCHEMA
    kind = SCHEMA if settings else find_kind(first).name
    node = outline(settings_schema() if settings else schema_of(find_kind(first)))
    types: list[Node] = []
    for depth, name in enumerate(rest):
        choices = node.variants()
        types = [one for one in choices if name in [field.name for field in one.fields()] and name != one.name]
        try:
            node = node.child(name)
        except NotFound as error:
            inside = ".".join([kind.lower(), *rest[:depth]])
            spec = node.child("spec") if depth == 0 and not settings else None
            if spec is not None and name in [one.name for one in spec.fields()]:
                raise NotFound(f"{inside}: no field {name}: did you mean {inside}.spec.{name}?") from None
            raise NotFound(f"{inside}: {error}") from None
    return _Found(kind, node, types)


def _explained(found: _Found, field: str) -> Iterator[str]:
    kind, node, types = found
    yield f"kind:     {kind}" + ("" if kind == SCHEMA else f" ({API_VERSION})")
    if field:
        yield f"field:    {field}{' (required)' if node.required else ''}"
    yield from _kinds_of_value(found) if field else ()
    if node.default and not found.chooses:
        yield f"default:  {node.default}"
    if field and not found.chooses:
        yield from (f"example:  {json.dumps(one, ensure_ascii=False)}" for one in node.schema.get("examples", [])[:1])
    if node.schema.get(RELOAD) in _CHANGES:
        yield f"changes:  {_CHANGES[node.schema[RELOAD]]}"
    if node.description:
        yield "\n" + ("Chooses the type." if found.chooses else _filled(node.description))
    if node.fields():
        yield "\nfields:"
        yield from (_line(one) for one in node.fields())
    choices = types if found.chooses else node.variants()
    if choices:
        yield "\ntypes:"
        yield from (f"  {one.name}\n{_indented(one.description)}" for one in choices)
        union = field.removesuffix(".type") if found.chooses else field or "spec"
        yield f"\nfor the fields of a type: loomd explain {kind.lower()}.{union}.<type>"


def _kinds_of_value(found: _Found) -> Iterator[str]:
    """Yield what a value looks like, and where only some types have the field, which."""
    if found.chooses:
        yield f"type:     {' or '.join(one.child('type').type for one in found.types)}"
        return
    yield f"type:     {found.node.type}"
    if found.types:
        yield f"only in:  {', '.join(one.name for one in found.types)}"


def _line(node: Node) -> str:
    extra = ", required" if node.required else f", default {node.default}" if node.default else ""
    return f"  {node.name} ({node.type}{extra})\n{_indented(node.description)}"


def _indented(text: str) -> str:
    return _filled(text, "      ")


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )
