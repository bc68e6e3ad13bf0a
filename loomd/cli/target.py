"""Which daemon, which namespace and which things a verb is about: the options and arguments that verbs share."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from loomd.api.client import Client, Json, default_socket
from loomd.api.label_query import LabelQuery
from loomd.cli.delivery import source_name
from loomd.cli.output import spelled
from loomd.errors import NotFound, Permanent
from loomd.manifest.wording import did_you_mean

F = TypeVar("F", bound=Callable[..., Any])

__all__ = [
    "APPROVALS",
    "BUDGETS",
    "CAPABILITIES",
    "DECLARED",
    "EVERY",
    "LINEAGE",
    "MEMORY_ITEMS",
    "PROPOSALS",
    "REVISIONS",
    "SESSIONS",
    "SOURCES",
    "TASKS",
    "Client",
    "F",
    "Place",
    "Wanted",
    "declared_parts",
    "find_source",
    "get_one",
    "is_id",
    "namespace_option",
    "schedule_parts",
    "select",
    "selector_option",
    "socket_option",
    "wanted",
]


@dataclass(frozen=True)
class Place:
    """Where things of one kind are.

    Attributes:
        plural: their word in the API.
        kind: what they say they are; empty for all kinds of objects.
        spaced: whether they live in a namespace.
    """

    plural: str
    kind: str
    spaced: bool = True

    def parts(self, namespace: str | None) -> tuple[str, ...]:
        """Return the path of the list; `None` stands for all namespaces."""
        if self == REVISIONS:
            return ("rollout", "history")
        return ("namespaces", namespace, self.plural) if self.spaced and namespace is not None else (self.plural,)

    def spelled(self, name: str, namespace: str) -> str:
        """Return how a thing of this kind is named everywhere."""
        return spelled(self.kind, name, namespace if self.spaced else "default")


EVERY = Place("all", "")
TASKS = Place("tasks", "Task")
"""Tasks that run or have run, by their ids."""
DECLARED = Place("declaredtasks", "Task")
"""Tasks that are declared, by their names: objects like all others."""
APPROVALS = Place("approvals", "Approval")
PROPOSALS = Place("proposals", "Proposal")
CAPABILITIES = Place("capabilities", "Capability")
LINEAGE = Place("lineage", "Descent")
BLUEPRINTS = Place("blueprints", "Blueprint")
"""Specialists that clusters made or may let join, and what agents learned to do, by the names of the agents."""
DECLARED_BLUEPRINTS = Place("declaredblueprints", "Blueprint")
"""Blueprints that people declared: objects like all others."""
SESSIONS = Place("sessions", "Session")
BUDGETS = Place("budgets", "Budget")
MEMORY_ITEMS = Place("memoryitems", "MemoryItem")
SOURCES = Place("sources", "Source", spaced=False)
REVISIONS = Place("revisions", "Revision", spaced=False)
_ID = re.compile(r"t[0-9a-f]{11}-")
"""How the id of a task begins."""
_SHORT = {"gs": "gitsources", "kb": "knowledgebases"}
"""Short spellings of long kinds."""
_LEARNED = (PROPOSALS, CAPABILITIES, BLUEPRINTS, LINEAGE)
_FIXED = (EVERY, TASKS, APPROVALS, *_LEARNED, SESSIONS, MEMORY_ITEMS, BUDGETS, SOURCES, REVISIONS)
BARE = frozenset(_FIXED[1:])
"""What has no manifest, and so no labels."""


@dataclass(frozen=True)
class Wanted:
    """Things of one kind in a namespace; no names stand for all of them."""

    place: Place
    namespace: str
    names: tuple[str, ...] = ()


def socket_option(function: F) -> F:
    """Add `--socket`; the verb gets a `client`."""
    return click.option(
        "--socket",
        "client",
        type=click.Path(path_type=Path),
        default=default_socket,
        callback=_connected,
        show_default="LOOMD_SOCKET, or the user's runtime directory",
        help="Socket of the daemon.",
    )(function)


def _connected(context: click.Context, option: click.Parameter, path: Path) -> Client:
    del context, option
    return Client(path)


def namespace_option(function: F) -> F:
    """Add `-n/--namespace`."""
    return click.option("-n", "--namespace", default="default", show_default=True, help="Namespace to look in.")(
        function
    )


def selector_option(function: F) -> F:
    """Add `-l/--selector`."""
    return click.option(
        "-l",
        "--selector",
        default="",
        callback=_selector,
        help="Only objects with these labels: team=docs, tier!=test, env in (a, b).",
    )(function)


def _selector(context: click.Context, option: click.Parameter, text: str) -> str:
    try:
        LabelQuery.parse(text)
    except Permanent as error:
        raise click.BadParameter(str(error), context, option) from error
    return text


def wanted(client: Client, arguments: Sequence[str], namespace: str) -> list[Wanted]:
    """Return what the arguments `KIND[,KIND] [NAME]...` or `KIND/NAME...` name, in their order.

    `KIND/NAMESPACE/NAME`, as loomd itself spells what is not in the namespace `default`, is understood too, and ids of
    tasks as `loomd submit` prints them.

    Args:
        client: the daemon that knows the kinds.
        arguments: what was written, at least one word.
        namespace: where things are that do not say it themselves.

    Raises:
        NotFound: there is no such kind; the text names the closest.
        UsageError: the two spellings are mixed.
    """
    first = arguments[0]
    if "/" not in first:
        try:
            places = _places(client, first.split(","))
        except NotFound:
            if not _is_task(client, namespace, first):
                raise
            return [Wanted(TASKS, namespace, tuple(arguments))]
        if len(places) > 1 and len(arguments) > 1:
            raise click.UsageError("several kinds take no names: write KIND/NAME KIND/NAME")
        return [Wanted(place, namespace, tuple(arguments[1:])) for place in places]
    lone = next((one for one in arguments if "/" not in one), None)
    if lone is not None:
        raise click.UsageError(f"{lone!r}: expected KIND/NAME like {first!r}, or one KIND and then names")
    split = [one.partition("/") for one in arguments]
    if nameless := next((one for one in arguments if one.endswith("/")), None):
        raise click.UsageError(f"{nameless!r}: expected a name after the slash, or the kind alone")
    places = _places(client, [kind for kind, _, _ in split])
    named = [_named(place, name, namespace) for place, (_, _, name) in zip(places, split, strict=True)]
    return [Wanted(DECLARED, one.namespace, one.names) if _is_declared(client, one) else one for one in named]


def get_one(client: Client, place: Place, namespace: str, name: str, **query: str) -> Json:
    """Return one thing.

    Raises:
        NotFound: there is none of that name; the text names the closest.
    """
    if place == SOURCES:
        return find_source(client, name, namespace)
    try:
        return client.get(*place.parts(namespace), name, **query)
    except NotFound:
        if place == REVISIONS:
            raise  # numbers are not misspelt
        items = client.get(*place.parts(namespace))["items"]
        hint = _hint(name, (item["metadata"]["name"] for item in items))
        if not hint:
            raise
    inside = f" in namespace {namespace}" if place.spaced else ""
    raise NotFound(f"no {place.kind} {name!r}{inside}: {hint}")


def select(
    client: Client, place: Place, namespace: str, selector: str, everything: bool, or_none: bool = False
) -> tuple[str, ...]:
    """Return the names of all things that are meant without a name.

    Args:
        client: the daemon.
        place: their kind.
        namespace: where they are.
        selector: labels that they must have.
        everything: whether all are meant.
        or_none: whether it is fine when there are none.

    Raises:
        UsageError: it is not said which are meant.
        NotFound: there are none.
    """
    if bool(selector) == everything:
        raise click.UsageError(f"say which: names of {place.plural}, -l SELECTOR, or --all")
    query = {"labelSelector": selector} if selector else {}
    items, _ = client.items(place.parts(namespace), query)
    if not items and not or_none:
        coming = being_opened(client.get(*place.parts(namespace)))
        told = f" yet: {'; '.join(coming)}" if coming else ""
        raise NotFound(f"no {place.plural} {f'with {selector} ' if selector else ''}in namespace {namespace}{told}")
    return tuple(item["metadata"]["name"] for item in items)


def being_opened(page: Json) -> list[str]:
    """Return what a list says of objects that are being opened for the first time: each with how far that is."""
    return [f"{one['object']}: {one['message']}" for one in page.get("metadata", {}).get("opening", ())]


def schedule_parts(name: str, namespace: str) -> tuple[str, ...] | None:
    """Return the path of the schedule that `schedule/NAME` names, or None when it names something else.

    Raises:
        UsageError: the name is missing.
    """
    return _parts_of("schedule", name, namespace)


def declared_parts(name: str, namespace: str) -> tuple[str, ...] | None:
    """Return the path of the declared task that `task/NAME` names, or None when it names something else.

    Raises:
        UsageError: the name is missing, or it is the id of a task that has run.
    """
    parts = _parts_of("task", name, namespace) or _parts_of("declaredtask", name, namespace)
    if parts is not None and is_id(parts[-1]):
        raise click.UsageError(f"{name!r} is a task that was sent: `loomd retry {name}` runs it anew")
    return parts and (*parts[:2], DECLARED.plural, parts[3])


def _parts_of(wanted: str, name: str, namespace: str) -> tuple[str, ...] | None:
    """Return the path of the object of a kind that `KIND/NAME` names, or None when it names something else.

    Raises:
        UsageError: the name is missing.
    """
    kind, slash, rest = name.partition("/")
    if not slash or kind.lower() not in {wanted, f"{wanted}s"}:
        return None
    space, slash, last = rest.rpartition("/")
    if not last:
        raise click.UsageError(f"{name!r}: expected {wanted}/NAME")
    return ("namespaces", space if slash else namespace, f"{wanted}s", last)


def find_source(client: Client, name: str, namespace: str = "default") -> Json:
    """Return a source by its name, by the path of its folder or file, or by the name of its GitSource.

    Raises:
        NotFound: there is none; the text names the closest.
    """
    known: dict[str, Json] = {item["metadata"]["name"]: item for item in client.get(*SOURCES.parts(None))["items"]}
    kind, _, rest = name.partition("/")
    git = rest if kind.lower() in {"gitsource", "gitsources"} else name
    for spelling in (name, source_name(name), os.path.realpath(name), f"git/{namespace}/{git}"):
        if spelling in known:
            return known[spelling]
    hint = _hint(name, known) or "nothing was applied yet, and nothing is followed"
    raise NotFound(f"no source {name!r}: {hint}")


def _is_task(client: Client, namespace: str, name: str) -> bool:
    """Return whether a word that names no kind is the id of a task."""
    try:
        client.get(*TASKS.parts(namespace), name)
    except NotFound:
        return False
    return True


def _is_declared(client: Client, one: Wanted) -> bool:
    """Return whether `task/NAME` names a task that is declared: it is no id, and there is one."""
    if one.place != TASKS or is_id(one.names[0]):
        return False
    try:
        client.get(*DECLARED.parts(one.namespace), one.names[0])
    except NotFound:
        return False
    return True


def _named(place: Place, name: str, namespace: str) -> Wanted:
    space, slash, rest = name.partition("/")
    return Wanted(place, space, (rest,)) if slash and place.spaced else Wanted(place, namespace, (name,))


def is_id(name: str) -> bool:
    """Return whether a word looks like the id of a task that runs; what else `task/NAME` names is declared."""
    return _ID.match(name) is not None


def _places(client: Client, words: Iterable[str]) -> list[Place]:
    fixed = {word: place for place in _FIXED for word in (place.plural, place.kind.lower()) if word}
    fixed |= {"declaredtasks": DECLARED, "declaredtask": DECLARED}
    fixed |= {"declaredblueprints": DECLARED_BLUEPRINTS, "declaredblueprint": DECLARED_BLUEPRINTS}
    lower = [word.lower() for word in words]
    if all(word in fixed for word in lower):
        return [fixed[word] for word in lower]
    kinds = client.get()["kinds"]
    known = fixed | {
        word: Place(one["plural"], one["name"]) for one in kinds for word in _words(one) if word not in fixed
    }
    return [_known(word, known) for word in lower]


def _words(kind: Json) -> list[str]:
    words = [kind["plural"], kind["name"].lower()]
    return [*words, *(short for short, plural in _SHORT.items() if plural == kind["plural"])]


def _known(word: str, known: dict[str, Place]) -> Place:
    if word not in known:
        listed = ", ".join(dict.fromkeys(place.plural for place in known.values()))
        raise NotFound(f"no kind {word!r}: {did_you_mean(word, known) or f'there are {listed}'}")
    return known[word]


def _hint(name: str, known: Iterable[str]) -> str:
    return did_you_mean(name, known, "there are")
