"""`loomd get`: lists objects, tasks, approvals, sessions, sources or revisions: now, as they change, as they were."""

from collections.abc import Callable, Sequence

import click

from loomd.api.client import Client, Json
from loomd.api.text import to_yaml
from loomd.cli.columns import Column, columns_of
from loomd.cli.output import Form, output_option, writer
from loomd.cli.remembered import Filters, filter_options, memory_of
from loomd.cli.table import Growing, show
from loomd.cli.target import (
    BARE,
    CAPABILITIES,
    EVERY,
    LINEAGE,
    MEMORY_ITEMS,
    SOURCES,
    TASKS,
    Wanted,
    being_opened,
    get_one,
    namespace_option,
    selector_option,
    socket_option,
    wanted,
)
from loomd.clock import SystemClock
from loomd.errors import NotFound
from loomd.manifest.json_text import write_json
from loomd.manifest.wording import did_you_mean

_PEOPLE = ("table", "wide")
_UNWATCHED = BARE - {TASKS, SOURCES}
"""What changes without that being told of it alone."""
_OWN_ROWS = frozenset(
    (
        "Task",
        "Approval",
        "Proposal",
        "Capability",
        "Descent",
        "Blueprint",
        "Agent",
        "Session",
        "MemoryItem",
        "Budget",
        "Source",
        "Revision",
        "GitSource",
        "Schedule",
    )
)
"""Kinds that have columns of their own."""


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="KIND[,KIND] [NAME]...")
@namespace_option
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="Look in all namespaces.")
@selector_option
@filter_options
@output_option(*_PEOPLE, "json", "yaml", "name", "jsonpath")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="Show at most so many tasks, the newest, or remembered items; 0 is for all.",
)
@click.option(
    "--at",
    default="",
    metavar="REV|TIME",
    help="What was declared or believed then: at revision 7, at 2026-11-30T12:00:00Z, or 2h ago.",
)
@click.option("-w", "--watch", is_flag=True, help="Go on with what changes.")
@socket_option
def command(
    what: tuple[str, ...],
    namespace: str,
    everywhere: bool,
    selector: str,
    filters: Filters,
    output: Form,
    limit: int,
    at: str,
    watch: bool,
    client: Client,
) -> None:
    """List things of a KIND (agents, tools, ...), tasks, approvals, proposals, sessions, budgets, sources; all; NAMEs.

    `lineage [AGENT]` tells where agents came from: made, given other instructions, retired, and why; `capabilities
    [AGENT]` what is believed of them.

    `memory [NAME]` is what is remembered, `memories` are the objects; --scope, --agent and the like narrow the former.
    JSONPath is written as for kubectl, '{.items[*].metadata.name}', or as RFC 9535 has it, '$.items[*].metadata.name'.
    With --watch, json is one object per line; `all` is then all objects without tasks.
    """
    write = None if output.name in _PEOPLE else writer(output)
    look = Look(client, None if everywhere else namespace, selector, output.name == "wide", limit)
    memory = memory_of(what)
    asked = wanted(client, what, namespace) if memory is None else [Wanted(MEMORY_ITEMS, namespace)]
    if any(one.place == MEMORY_ITEMS for one in asked):
        look.narrow(filters, memory or "")
    elif filters:
        raise click.UsageError(f"--{next(iter(filters))}: only what is remembered is narrowed by it")
    if any(one.place in BARE for one in asked) and selector:
        raise click.UsageError("-l: only objects have labels; what has no manifest has none")
    if at:
        if watch:
            raise click.UsageError("-w: what was does not change any more")
        look.back_to(at, asked)
    if everywhere and any(one.names for one in asked):
        raise click.UsageError("-A: a name stands in one namespace: say which with -n")
    if watch:
        look.follow(asked, write, output)
    elif write is None:
        look.tables(asked)
    else:
        write(look.body(asked))


class Look:
    """Looks at things of a daemon.

    Args:
        client: the daemon.
        namespace: where, or None for everywhere.
        selector: labels that objects must have.
        wide: whether tables have all columns.
        limit: most tasks that are listed; 0 for all.
    """

    def __init__(self, client: Client, namespace: str | None, selector: str, wide: bool, limit: int) -> None:
        self._client = client
        self._namespace = namespace
        self._query = {"labelSelector": selector} if selector else {}
        self._wide = wide
        self._limit = limit
        self._remembered: Filters = {}
        self._at: dict[str, str] = {}
        self._coming: list[str] = []

    def narrow(self, filters: Filters, memory: str) -> None:
        """Look only at what is remembered of a kind, and by one memory when it is named: `NAME` or `NAMESPACE/NAME`."""
        space, _, name = memory.rpartition("/")
        self._namespace = space or self._namespace
        self._remembered = {**filters, **({"memory": name} if name else {})}

    def back_to(self, at: str, asked: Sequence[Wanted]) -> None:
        """Look at what was at a moment.

        Raises:
            UsageError: of what is asked for only what is now is known.
        """
        lost = [one.place.plural for one in asked if one.place in BARE - {CAPABILITIES, LINEAGE}]
        if lost:
            raise click.UsageError(f"--at: of {lost[0]} it is not known what they were; of objects it is")
        self._at = {"at": at}

    def body(self, asked: Sequence[Wanted]) -> Json:
        """Return what was asked for as JSON: one thing that was named, or a list."""
        if len(asked) == 1 and len(asked[0].names) == 1 and asked[0].place not in {LINEAGE, CAPABILITIES}:
            return self._items(asked[0])[0]
        return {"items": [item for one in asked for item in self._items(one)]}

    def tables(self, asked: Sequence[Wanted]) -> None:
        """Print what was asked for as tables, one for each kind of rows."""
        prefixed = len({one.place for one in asked}) > 1 or EVERY in {one.place for one in asked}
        groups: dict[str, list[Json]] = {}
        for one in asked:
            for item in self._items(one):
                groups.setdefault(_rows(item), []).append(item)
        if not groups:
            where = "any namespace" if self._namespace is None else f"namespace {self._namespace}"
            some = any(one.place.spaced for one in asked)
            click.echo(f"nothing in {where}" if some else "nothing yet", err=True)
        for told in self._coming:
            click.echo(told, err=True)
        now = SystemClock().now()
        for number, (kind, items) in enumerate(groups.items()):
            if number:
                click.echo()
            prefixed_kinds = {"", "Past", "Agent", "DeclaredTask", "GitSource", "Schedule"}
            columns = self._columns(kind, prefixed=prefixed and kind in prefixed_kinds)
            show([one.title for one in columns], [[one.cell(item, now) for one in columns] for item in items])

    def follow(self, asked: Sequence[Wanted], write: Callable[[Json], None] | None, output: Form) -> None:
        """Print what is there and then what becomes of it, until interrupted."""
        places = {(one.place, one.namespace) for one in asked}
        place = asked[0].place
        if len(places) > 1 or place in _UNWATCHED:
            *others, last = sorted(one.plural for one in _UNWATCHED)
            raise click.UsageError(
                f"-w: expected one kind, or all; {', '.join(others)} and {last} are followed by `loomd events -f`"
            )
        names = {name for one in asked for name in one.names}
        for name in names:
            get_one(self._client, place, asked[0].namespace, name)  # a name that is wrong is said at once
        first: list[Json] = []
        tell: Callable[[Json], None] | None = None
        where = asked[0].namespace if names else self._namespace
        only = {"name": next(iter(names))} if len(names) == 1 and place.spaced else {}
        for event in self._client.watch(*place.parts(where), until=None, **self._query, **only):
            item = event["object"]
            if event["type"] == "BOOKMARK":
                tell = self._teller(first, place == EVERY, write, output)
            elif names and item["metadata"]["name"] not in names:
                continue
            elif tell is None:
                first.append(item)
            else:
                tell(item | {"deleted": True} if event["type"] == "DELETED" and write is None else item)

    def _teller(
        self, first: Sequence[Json], prefixed: bool, write: Callable[[Json], None] | None, output: Form
    ) -> Callable[[Json], None]:
        """Print what is there, and return what prints every change."""
        if write is None:
            columns = self._columns(_rows(first[0]) if first else "", prefixed=prefixed)
            clock = SystemClock()
            table = Growing(
                [one.title for one in columns], [[one.cell(item, clock.now()) for one in columns] for item in first]
            )
            return lambda item: table.add(_row(item, columns, clock.now()))
        tell = {"json": _line, "yaml": _document}.get(output.name, write)
        for item in first:
            tell(item)
        return tell

    def _items(self, one: Wanted) -> list[Json]:
        """Return the things of one kind; named ones in the order of their names."""
        if one.place == LINEAGE:
            return [item for name in one.names or ("",) for item in self._lineage(one.namespace, name)]
        if one.place == CAPABILITIES and one.names:
            return [item for name in one.names for item in self._capabilities(one.namespace, name)]
        if one.names and self._at:
            return [self._client.get(*one.place.parts(one.namespace), name, **self._at) for name in one.names]
        if one.names:
            return [get_one(self._client, one.place, one.namespace, name) for name in one.names]
        if one.place == TASKS:
            return self._tasks()
        if one.place == MEMORY_ITEMS:
            return self._items_remembered()
        page = self._client.get(*one.place.parts(self._namespace), **self._query, **self._at)
        items: list[Json] = page["items"]
        self._coming += being_opened(page)
        return items + self._tasks() if one.place == EVERY and not self._query and not self._at else items

    def _lineage(self, namespace: str, name: str) -> list[Json]:
        """Return what became of an agent, or of all without a name; `agent/` may stand before it."""
        space = namespace if name else self._namespace
        items: list[Json] = self._client.get(
            *LINEAGE.parts(space), **({"agent": name.rpartition("/")[2]} if name else {}), **self._at
        )["items"]
        return items

    def _capabilities(self, namespace: str, name: str) -> list[Json]:
        """Return what is believed of an agent, before whose name `agent/` may stand, or of it in a domain: `ada.law`.

        Raises:
            NotFound: nothing is, in any cluster; the text names the closest.
        """
        items: list[Json] = self._client.get(*CAPABILITIES.parts(namespace), **self._at)["items"]
        wanted = name.rpartition("/")[2]
        found = [one for one in items if wanted in {one["spec"]["agent"], one["metadata"]["name"]}]
        if not found:
            known = sorted({one["spec"]["agent"] for one in items})
            hint = did_you_mean(wanted, known, "there are") or "no agent is a member of a cluster"
            raise NotFound(f"no capabilities of {wanted!r} in namespace {namespace}: {hint}")
        return found

    def _tasks(self) -> list[Json]:
        """Return the newest tasks, and say when there are more."""
        items, more = self._client.items(TASKS.parts(self._namespace), most=self._limit)
        if more:
            click.echo(f"the newest {len(items)} tasks are shown: --limit 0 shows all", err=True)
        return items

    def _items_remembered(self) -> list[Json]:
        """Return remembered items, and say when there are more."""
        items, more = self._client.items(MEMORY_ITEMS.parts(self._namespace), self._remembered, self._limit)
        if more:
            click.echo(f"{len(items)} items are shown: --limit 0 shows all", err=True)
        return items

    def _columns(self, kind: str, *, prefixed: bool) -> list[Column]:
        spaces = self._namespace is None and kind not in {"Source", "Revision"}
        return columns_of(kind, wide=self._wide, spaces=spaces, prefixed=prefixed)


def _rows(item: Json) -> str:
    """Return the kind whose rows a thing has; objects of all kinds share theirs.

    What is declared is an object, and has a uid; a task that runs and a blueprint of a cluster have none.
    """
    if "past" in item["status"]:
        return "Past"
    if item["kind"] == "Blueprint" and "uid" in item["metadata"]:
        return ""
    if item["kind"] == "Task" and "uid" in item["metadata"]:
        return "DeclaredTask"
    return item["kind"] if item["kind"] in _OWN_ROWS else ""


def _row(item: Json, columns: Sequence[Column], now: float) -> list[str]:
    """Return the row of a change; the second column of what is gone says so."""
    row = [one.cell(item, now) for one in columns]
    if item.get("deleted"):
        at = next((at for at, one in enumerate(columns) if one.title in {"READY", "PHASE"}), len(row) - 1)
        row[at] = "Deleted"
    return row


def _line(item: Json) -> None:
    click.echo(write_json(item, None))


def _document(item: Json) -> None:
    click.echo(f"---\n{to_yaml(item)}", nl=False)
