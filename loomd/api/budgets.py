"""Routes of budgets: what agents and namespaces may use today, have used, and have left. Called by `server`."""

from collections.abc import Mapping

from aiohttp import web

from loomd.accounts.account import Accounts, Owner, named, spelled
from loomd.accounts.budget import MEASURES, Budget
from loomd.api.address import space_at
from loomd.api.guard import answer
from loomd.api.path import PREFIX
from loomd.daemon import System
from loomd.errors import NotFound
from loomd.manifest.kind import API_VERSION
from loomd.manifest.wording import did_you_mean
from loomd.reconcile.condition import rfc3339

Body = dict[str, object]


class BudgetRoutes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        budgets = f"{PREFIX}/namespaces/{{namespace}}/budgets"
        app.add_routes(
            [
                web.get(f"{PREFIX}/budgets", self.listed),
                web.get(budgets, self.listed),
                web.get(f"{budgets}/{{name}}", self.one),
            ]
        )

    async def listed(self, request: web.Request) -> web.Response:
        """Return the budgets of a namespace or of all, and what is used where there is none."""
        return answer({"items": list(self._shown(space_at(request)).values())})

    async def one(self, request: web.Request) -> web.Response:
        """Return one budget: `namespace`, `agent.NAME`, `knowledgebase.NAME` or `search.NAME`."""
        name, shown = request.match_info["name"], self._shown(space_at(request))
        if name not in shown:
            hint = did_you_mean(name, list(shown), "there are") or "`loomd get budgets` lists them"
            raise NotFound(f"no budget {name!r}: {hint}")
        return answer(shown[name])

    def _shown(self, space: str | None) -> dict[str, Body]:
        """Return the budgets of a namespace by name; of all namespaces by number."""
        accounts = self._system.services.accounts
        bodies = [(owner, show_budget(accounts, owner)) for owner in accounts.today() if space in {None, owner[0]}]
        return {_name(owner) if space is not None else str(at): body for at, (owner, body) in enumerate(bodies)}


def show_budget(accounts: Accounts, owner: Owner) -> Body:
    """Return a budget as an object without a manifest."""
    budget, used, held = accounts.standing(owner)
    daily = budget.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "apiVersion": API_VERSION,
        "kind": "Budget",
        "metadata": {"name": _name(owner), "namespace": owner[0]},
        "spec": {"of": named(owner), "daily": daily},
        "status": {
            "opens": rfc3339(accounts.opens),
            "measures": {spelled(one): _measure(budget, one, used, held) for one in MEASURES},
        },
    }


def _measure(budget: Budget, measure: str, used: Mapping[str, float], held: Mapping[str, float]) -> Body:
    limit = getattr(budget, measure)
    said: Body = {"used": round(used[measure], 6), "held": round(held[measure], 6)}
    return said if limit is None else {**said, "limit": limit, "left": round(max(0.0, limit - used[measure]), 6)}


def _name(owner: Owner) -> str:
    if "/" in owner[1]:
        return owner[1].replace("/", ".").lower()
    return f"agent.{owner[1]}" if owner[1] else "namespace"
