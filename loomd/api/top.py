"""The route of what goes on now: every agent with its load, health, scores and cost, and the tasks that run.

What phase a task is in, who does it and what it cost so far is heard on the bus, because no record says it before the
end. Called by `server`.
"""

from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass

import msgspec
from aiohttp import web

from loomd.amoeba.task import Task
from loomd.api.address import space_at
from loomd.api.budgets import show_budget
from loomd.api.guard import answer
from loomd.api.path import PREFIX
from loomd.api.view import Body
from loomd.cluster.cluster import Cluster
from loomd.daemon import System
from loomd.events.cluster import AuctionAwarded
from loomd.events.event import Event, ModelCalled, PhaseStarted, TaskCompleted, TaskFailed
from loomd.store.records import Capability, TaskRecord

_ENDED = 20
"""Most tasks that have ended that are told beside those that run."""
_HEARD = (PhaseStarted, AuctionAwarded, ModelCalled, TaskCompleted, TaskFailed)


@dataclass
class _Course:
    """How far a task is: its phase and since when, who does it, and the USD of its own model calls."""

    phase: str = ""
    since: float = 0.0
    agent: str = ""
    cost: float = 0.0


class TopRoutes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._courses: dict[str, _Course] = {}

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        app.add_routes(
            [web.get(f"{PREFIX}/top", self.now), web.get(f"{PREFIX}/namespaces/{{namespace}}/top", self.now)]
        )
        app.cleanup_ctx.append(self._hearing)

    async def now(self, request: web.Request) -> web.Response:
        """Return what goes on now in a namespace or in all."""
        space, store = space_at(request), self._system.store
        learned = await store.capabilities()
        running = await store.list_tasks(unfinished=True, namespace=space or "")
        roots = {one.id: one.created for one in running if "." not in one.id}
        parts = [one for root in roots for one in await store.list_tasks(tree=root)]
        newest = await store.list_tasks(namespace=space or "", limit=_ENDED)
        shown = {one.id: one for one in (*running, *parts, *newest)}

        def place(record: TaskRecord) -> tuple[bool, float, str]:
            """What runs first, the oldest above, then what has ended, the newest above; parts below their task."""
            began = roots.get(record.id.partition(".")[0])
            return began is None, -record.created if began is None else began, record.id

        return answer(
            {
                "time": self._system.clock.now(),
                "agents": list(self._agents(space, learned)),
                "tasks": [self._task(one) for one in sorted(shown.values(), key=place)],
            }
        )

    def _agents(self, space: str | None, learned: Sequence[Capability]) -> Iterator[Body]:
        scores: dict[tuple[str, str], list[Capability]] = {}
        for one in learned:
            scores.setdefault((one.agent, one.spec), []).append(one)
        for ref, live in self._system.reconciler.topology.live.items():
            if not isinstance(live, Cluster) or space not in {None, ref.namespace}:
                continue
            for name, agent in live.agents.items():
                standing = live.standing(name, [])
                today: Body = show_budget(self._system.services.accounts, (ref.namespace, name))
                yield {
                    "namespace": ref.namespace,
                    "cluster": ref.name,
                    "agent": name,
                    "running": standing.running,
                    "load": float(standing.running),
                    "health": live.conditions.word(agent),
                    "score": standing.overall.mean,
                    "tasks": live.conditions.vitals(agent).samples,
                    "domains": {one.domain: one.score for one in scores.get((name, agent.digest), ())},
                    "today": {one: today["status"]["measures"][one]["used"] for one in ("tokens", "cost", "calls")},
                }

    def _task(self, record: TaskRecord) -> Body:
        task = msgspec.json.decode(record.body, type=Task)
        course = self._courses.get(record.id, _Course())
        said: Body = {
            "task": record.id,
            "namespace": record.namespace,
            "cluster": record.cluster,
            "parent": task.parent,
            "goal": task.goal,
            "status": record.phase,
            "phase": "" if record.result else course.phase,
            "since": course.since,
            "agent": course.agent,
            "cost": course.cost,
            "created": record.created,
        }
        if record.result:
            said |= _end(record.result)
        return said

    async def _hearing(self, app: web.Application) -> AsyncGenerator[None, None]:
        """Listen for as long as the server runs."""
        del app
        unsubscribe = self._system.bus.subscribe(self._hear, *_HEARD)
        yield
        unsubscribe()

    def _hear(self, event: Event) -> None:
        fact = event.data
        if isinstance(fact, TaskCompleted | TaskFailed):
            self._courses.pop(event.task, None)
        elif event.task:
            course = self._courses.setdefault(event.task, _Course())
            if isinstance(fact, PhaseStarted):
                course.phase, course.since = fact.phase, event.ts
            elif isinstance(fact, AuctionAwarded):
                course.agent = fact.winner
            elif isinstance(fact, ModelCalled):
                course.cost += fact.cost


class _Outcome(msgspec.Struct):
    cost: float = 0.0
    seconds: float = 0.0


class _Executed(msgspec.Struct):
    outcome: _Outcome = msgspec.field(default_factory=_Outcome)
    agent: str = ""


class _Evaluated(msgspec.Struct):
    reward: float = 0.0


class _End(msgspec.Struct):
    """What of a result is told here."""

    executed: _Executed | None = None
    evaluated: _Evaluated | None = None


def _end(result: bytes) -> Body:
    end = msgspec.json.decode(result, type=_End)
    said: Body = {}
    if end.executed is not None:
        outcome = end.executed.outcome
        said |= {"agent": end.executed.agent, "cost": outcome.cost, "seconds": outcome.seconds}
    if end.evaluated is not None:
        said["reward"] = end.evaluated.reward
    return said
