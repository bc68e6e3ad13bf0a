"""Routes of knowledge bases: what a question finds and why, and indexes that are built anew. Called by `server`.

How a knowledge base stands is part of its object, `status.index`.
"""

import msgspec
from aiohttp import web

from loomd.agents.asking import of_the_day
from loomd.api.exchange import read_body
from loomd.api.guard import answer
from loomd.api.path import LONGEST_QUESTION, PREFIX
from loomd.daemon import System
from loomd.errors import NotFound, Permanent, Temporary
from loomd.knowledge.standing import Hit, Searchable
from loomd.manifest.object import Ref
from loomd.manifest.wording import did_you_mean

_MOST = 100
"""Passages that are returned at most."""


class Rebuild(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How indexes are built anew."""

    embed: bool = False


class KnowledgeRoutes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        base = f"{PREFIX}/namespaces/{{namespace}}/knowledgebases/{{name}}"
        app.add_routes([web.get(f"{base}/search", self.search), web.post(f"{base}/rebuild", self.rebuild)])

    async def search(self, request: web.Request) -> web.Response:
        """Return the passages that `q` finds, best first, at most `limit`; costs money where `retrieval` asks models.

        A reranker, or an expander that asks a model, is asked for every request; what that costs is paid from the day's
        account of the namespace. Nothing is changed by it, so it is a GET. What each passage has is in
        docs/howto/improve-a-search.md.
        """
        ref, base = self._base(request)
        question = request.query.get("q", "")
        if not question.strip():
            raise Permanent("q: expected a question, got nothing")
        if len(question) > LONGEST_QUESTION:
            raise Permanent(f"q: expected a question of at most {LONGEST_QUESTION:,} characters, got {len(question):,}")
        asker = of_the_day(ref.name, ref.namespace, self._system.services)
        found = await base.explain(question, _limit(request.query.get("limit", "")), asker=asker)
        linked = base.standing().graph is not None
        items = [_show(one, linked=linked) for one in found.hits]
        return answer({"items": items, "wordings": found.wordings, "notes": found.notes})

    async def rebuild(self, request: web.Request) -> web.Response:
        """Build the indexes of a knowledge base anew; with `embed` read and embed its documents again, too."""
        _, base = self._base(request)
        body = await read_body(request, Rebuild) if request.body_exists else Rebuild()
        embedded = await base.rebuild(embed=body.embed)
        return answer({"embedded": embedded, **msgspec.to_builtins(base.standing())})

    def _base(self, request: web.Request) -> tuple[Ref, Searchable]:
        """Return the name and the live form of the knowledge base that a request is about.

        Raises:
            NotFound: there is none.
            Temporary: it is not open.
        """
        ref = Ref("KnowledgeBase", request.match_info["name"], request.match_info["namespace"])
        live = self._system.reconciler.topology.live
        found = live.get(ref)
        if isinstance(found, Searchable):
            return ref, found
        reconciler = self._system.reconciler
        if ref in reconciler.topology.snapshot.objects:
            ready = next(one for one in reconciler.status(ref).conditions if one.type == "Ready")
            raise Temporary(f"{ref} cannot be searched now: {ready.message}")
        if ref in reconciler.opening():
            raise reconciler.missing(ref)
        names = [one.name for one in live if one.kind == ref.kind and one.namespace == ref.namespace]
        hint = did_you_mean(ref.name, names, "there are") or "`loomd get knowledgebases` lists them"
        raise NotFound(f"no knowledge base {ref.name!r}: {hint}")


def _limit(given: str) -> int | None:
    if not given:
        return None
    if not given.isascii() or not given.isdigit() or not 0 < int(given) <= _MOST:
        raise Permanent(f'limit: expected a number from 1 to {_MOST}, got "{given}"')
    return int(given)


def _show(hit: Hit, *, linked: bool) -> dict[str, object]:
    passage = hit.passage
    return {
        "number": passage.number,
        "source": passage.source,
        "title": passage.title,
        "text": passage.text,
        "sha256": hit.sha256,
        "place": msgspec.to_builtins(hit.extent),
        "document": msgspec.to_builtins(hit.document),
        "score": passage.score,
        "keyword": msgspec.to_builtins(hit.keyword),
        "vector": msgspec.to_builtins(hit.vector),
        "rerank": hit.rerank,
    } | ({"graph": msgspec.to_builtins(hit.graph)} if linked else {})
