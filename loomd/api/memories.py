"""Routes of what is remembered: items by memory and by whose they are, and how they are forgotten. Called by `server`.

An item is there as long as its memory serves; what is remembered by a memory that was deleted is in its file only.
"""

from collections.abc import Mapping
from typing import get_args

import msgspec
from aiohttp import web

from loomd.api.address import space_at
from loomd.api.exchange import read_body, require_ready, whole_number
from loomd.api.guard import answer
from loomd.api.path import PREFIX
from loomd.api.problem import BadRequest
from loomd.api.view import Body
from loomd.daemon import System
from loomd.errors import NotFound
from loomd.manifest.kind import API_VERSION
from loomd.manifest.object import Ref
from loomd.manifest.wording import did_you_mean
from loomd.memory.base import LiveMemory
from loomd.memory.item import LEVELS, Item, ScopeOf, Which
from loomd.reconcile.condition import rfc3339

_PAGE = 500
_FILTERS = ("agent", "tenant", "user", "session", "task")
_WORDS = {"scope": get_args(ScopeOf), "level": LEVELS}


class Forgetting(Which, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What is to be forgotten; all of a memory only when that is said."""

    all: bool = False


class MemoryRoutes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        space = f"{PREFIX}/namespaces/{{namespace}}"
        app.add_routes(
            [
                web.get(f"{PREFIX}/memoryitems", self.listed),
                web.get(f"{space}/memoryitems", self.listed),
                web.get(f"{space}/memoryitems/{{name}}", self.one),
                web.post(f"{space}/memories/{{name}}/forget", self.forget),
            ]
        )

    async def listed(self, request: web.Request) -> web.Response:
        """Return what is remembered in a namespace or in all, in the order of the ids.

        `memory`, `scope`, `level`, `agent`, `tenant`, `user`, `session` and `task` narrow it. At most 500 items are
        returned, or `limit`; `metadata.continue` is what the next request has to say to get those after them.
        """
        most = min(whole_number(request.query.get("limit", "0"), "limit") or _PAGE, _PAGE)
        which, after = _which(request.query), request.query.get("continue", "")
        found: list[tuple[Ref, Item]] = []
        for ref, live in self._memories(space_at(request), request.query.get("memory")).items():
            found += [(ref, item) for item in await live.items(which, after, most + 1)]
        found.sort(key=lambda pair: (pair[1].id, pair[0]))
        body: Body = {"items": [show_item(ref, item) for ref, item in found[:most]]}
        if len(found) > most:
            body["metadata"] = {"continue": found[most - 1][1].id}
        return answer(body)

    async def one(self, request: web.Request) -> web.Response:
        """Return one item by its id."""
        name = request.match_info["name"]
        for ref, live in self._memories(space_at(request)).items():
            for item in await live.items(Which(ids=(name,))):
                return answer(show_item(ref, item))
        raise NotFound(f"nothing of the id {name!r} is remembered: `loomd get memory` lists what is")

    async def forget(self, request: web.Request) -> web.Response:
        """Delete what fits all that is said (`ids`, and the fields that narrow a list), for good; return the ids.

        Those in `parted` stay, because others told the same; who was meant is forgotten of them.

        All of a memory is meant only when `all` is true.
        """
        require_ready(self._system)
        space, name = request.match_info["namespace"], request.match_info["name"]
        said = await read_body(request, Forgetting)
        which = Which(**{field: getattr(said, field) for field in Which.__struct_fields__})
        if which.everything != said.all:
            raise BadRequest("expected what is to be forgotten: ids, or whose it is; or all, and then nothing else")
        ((_, live),) = self._memories(space, name).items()
        known = [] if said.all else [item.id for item in await live.items(which)]
        if missing := [one for one in which.ids if one not in known]:
            raise NotFound(
                f"Memory/{name}: nothing of the id {missing[0]!r} is remembered that fits; none is forgotten"
            )
        gone = await live.forget(which)
        return answer({"forgotten": gone, "parted": sorted(set(known).difference(gone))})

    def _memories(self, space: str | None, name: str | None = None) -> dict[Ref, LiveMemory]:
        """Return the memories that serve: of a namespace or all, one or all.

        Raises:
            NotFound: there is none of that name.
        """
        live = self._system.reconciler.topology.live
        known = {ref: one for ref, one in sorted(live.items()) if isinstance(one, LiveMemory)}
        inside = {ref: one for ref, one in known.items() if space in {None, ref.namespace}}
        found = {ref: one for ref, one in inside.items() if name in {None, ref.name}}
        if name is not None and not found:
            hint = did_you_mean(name, [ref.name for ref in inside], "there are") or "`loomd get memories` lists them"
            raise NotFound(f"no Memory {name!r}: {hint}")
        return found


def show_item(ref: Ref, item: Item) -> Body:
    """Return an item as an object without a manifest."""
    told = {name: getattr(item, name) for name in ("scope", *_FILTERS) if getattr(item, name)}
    status: Body = {
        "level": item.level,
        "importance": round(item.importance, 3),
        "tokens": item.tokens,
        "told": rfc3339(item.told),
        "place": item.place,
        "absorbed": item.absorbed,
        "count": item.count,
    }
    if item.also:
        status["also"] = [
            {"told": rfc3339(one.began), "place": one.place}
            | {name: getattr(one, name) for name in _FILTERS if getattr(one, name)}
            for one in item.also
        ]
    if item.replaces:
        status["replaces"] = list(item.replaces)
    return {
        "apiVersion": API_VERSION,
        "kind": "MemoryItem",
        "metadata": {"name": item.id, "namespace": ref.namespace, "creationTimestamp": rfc3339(item.created)},
        "spec": {"memory": ref.name, "what": item.what, "text": item.text, **told},
        "status": status,
    }


async def show_report(live: LiveMemory) -> Body:
    """Return how a memory is, as a part of its status."""
    found = await live.report()
    said: Body = {
        "items": sum(found.items.values()),
        "levels": found.items,
        "scopes": found.scopes,
        "tokens": found.tokens,
        "bytes": found.bytes,
        "vectors": found.vectors,
    }
    if found.newest:
        said |= {"oldest": rfc3339(found.oldest), "newest": rfc3339(found.newest)}
    if found.error:
        said |= {"lastError": found.error, "lastErrorAt": rfc3339(found.error_at)}
    return said


def _which(query: Mapping[str, str]) -> Which:
    """Return which items a request asks for.

    Raises:
        BadRequest: a word is none of those that there are.
    """
    for name, words in _WORDS.items():
        if name in query and query[name] not in words:
            raise BadRequest(f"{name}: expected one of {', '.join(words)}, got {query[name][:40]!r}")
    return msgspec.convert({name: query[name] for name in (*_WORDS, *_FILTERS) if name in query}, Which)
