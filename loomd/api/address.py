"""What the path of a request names: a kind by its plural, an object, a namespace. Called by the route modules."""

from aiohttp import web

from loomd.errors import NotFound
from loomd.manifest.kind import Kind, find_kinds
from loomd.manifest.object import Ref
from loomd.manifest.wording import did_you_mean

EVERY = "all"
"""Stands for objects of every kind."""


def kinds_by_plural() -> dict[str, Kind]:
    """Return every kind by its plural."""
    return {kind.plural: kind for kind in find_kinds().values()}


def kind_at(request: web.Request) -> str | None:
    """Return the name of the kind that a path names, or None for all of them.

    Raises:
        NotFound: there is no such kind.
    """
    plural = request.match_info["plural"]
    known = kinds_by_plural()
    if plural == EVERY:
        return None
    if plural not in known:
        listed = ", ".join([*known, "tasks", "sources"])
        raise NotFound(f"no kind {plural!r}: there are {listed}")
    return known[plural].name


def kind_called(name: str) -> str:
    """Return a kind's name when there is such a kind.

    Raises:
        NotFound: there is none.
    """
    known = find_kinds()
    if name not in known:
        raise NotFound(f"no kind {name!r}: {did_you_mean(name, known, 'there are')}")
    return name


def ref_at(request: web.Request) -> Ref:
    """Return the object that a path names, whether it is there or not.

    Raises:
        NotFound: there is no such kind.
    """
    kind = kind_at(request)
    if kind is None:
        raise NotFound(f"{EVERY!r} is no kind of one object: name its kind")
    return Ref(kind, request.match_info["name"], request.match_info["namespace"])


def space_at(request: web.Request) -> str | None:
    """Return the namespace that a path names, or None for all of them."""
    return request.match_info.get("namespace")
