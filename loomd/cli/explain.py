"""`loomd explain`: says what a kind or a field is for, from the same schema that checks it."""

import textwrap

import click

from loomd.cli.schema import find_kind
from loomd.errors import NotFound
from loomd.manifest.kind import API_VERSION, find_kinds
from loomd.manifest.outline import Node, outline
from loomd.manifest.schema import schema_of


@click.command()
@click.argument("path", required=False)
def command(path: str | None) -> None:
    """Explain a kind or a field, for example agent.spec.limits; without a path, list the kinds."""
    if path is None:
        kinds = find_kinds().values()
        width = max((len(kind.name) for kind in kinds), default=0)
        for kind in kinds:
            click.echo(f"{kind.name:<{width}}  {kind.summary}")
        return
    first, *rest = path.split(".")
    kind = find_kind(first)
    node = outline(schema_of(kind))
    for depth, name in enumerate(rest):
        try:
            node = node.child(name)
        except NotFound as error:
            raise NotFound(f"{'.'.join([kind.name, *rest[:depth]])}: {error}") from None
    click.echo(_explained(kind.name, ".".join(rest), node))


def _explained(kind: str, field: str, node: Node) -> str:
    parts = [f"kind:     {kind} ({API_VERSION})"]
    if field:
        parts.append(f"field:    {field}{' (required)' if node.required else ''}")
        parts.append(f"type:     {node.type}")
    if node.default:
        parts.append(f"default:  {node.default}")
    if node.description:
        parts.append("\n" + textwrap.fill(node.description, 100))
    if node.fields():
        parts.append("\nfields:")
        parts.extend(_line(one) for one in node.fields())
    if node.variants():
        parts.append("\ntypes:")
        parts.extend(f"  {one.name}\n{_indented(one.description)}" for one in node.variants())
        parts.append(f"\nfor the fields of a type: loomd explain {kind.lower()}.{field or 'spec'}.<type>")
    return "\n".join(parts)


def _line(node: Node) -> str:
    extra = ", required" if node.required else f", default {node.default}" if node.default else ""
    return f"  {node.name} ({node.type}{extra})\n{_indented(node.description)}"


def _indented(text: str) -> str:
    return textwrap.fill(text, 100, initial_indent="      ", subsequent_indent="      ")
