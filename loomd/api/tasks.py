"""Routes of tasks: submit, list, follow, cancel. Called by `server`; the engine does the work."""

from functools import partial

import msgspec
from aiohttp import web

from loomd.amoeba.feedback import Said
from loomd.amoeba.task import Task
from loomd.api.address import space_at
from loomd.api.body import Feedback, Signal, Submission
from loomd.api.caller import named
from loomd.api.exchange import flag, read_body, require_ready, whole_number
from loomd.api.guard import answer
from loomd.api.path import PREFIX
from loomd.api.problem import BadRequest
from loomd.api.view import Body, show_task
from loomd.api.watch import Shown, Sight, watch
from loomd.daemon import System
from loomd.engine.intake import is_same_wish
from loomd.errors import Conflict, NotFound
from loomd.events.event import (
    ApprovalRequested,
    ApprovalResolved,
    PhaseStarted,
    TaskCompleted,
    TaskFailed,
    TaskStarted,
)
from loomd.store.base import Store
from loomd.store.records import TaskRecord

_MOVES = (TaskStarted, PhaseStarted, ApprovalRequested, ApprovalResolved, TaskCompleted, TaskFailed)
_PAGE = 500
"""Most tasks in one list, and those that have ended with which a watch begins."""


class TaskRoutes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        tasks = f"{PREFIX}/namespaces/{{namespace}}/tasks"
        app.add_routes(
            [
                web.get(f"{PREFIX}/tasks", self.listed),
                web.get(tasks, self.listed),
                web.post(tasks, self.submit),
                web.get(f"{tasks}/{{name}}", self.one),
                web.delete(f"{tasks}/{{name}}", self.cancel),
                web.post(f"{tasks}/{{name}}/signals", self.signal),
                web.post(f"{tasks}/{{name}}/feedback", self.feedback),
                web.post(f"{tasks}/{{name}}/retry", self.retry),
                web.post(f"{tasks}/{{name}}/resume", self.resume),
            ]
        )

    async def submit(self, request: web.Request) -> web.Response:
        """Accept a task; the answer comes when it is on disk. One that was accepted under the same key is the same.

        Raises:
            Conflict: the key stands for a task that wants something else.
        """
        require_ready(self._system)
        body = await read_body(request, Submission)
        task = body.task(request.match_info["namespace"], self._system.clock)
        said, status = await submitted(self._system, task, body.key)
        return answer(said, status=status)

    async def listed(self, request: web.Request) -> web.StreamResponse:
        """Return tasks of a namespace or of all, newest first; with `watch=1` what becomes of them.

        When there are more than `limit`, `metadata.continue` is what the next request has to say to get those.

        Raises:
            BadRequest: a parameter is not what it has to be.
        """
        store, space, name = self._system.store, space_at(request), request.query.get("name")
        unfinished = flag(request, "unfinished")
        if flag(request, "watch"):
            return await watch(request, self._system, Followed(store, space, name, unfinished=unfinished).look, _MOVES)
        limit, before = _limit(request), _before(request)
        if name is not None:
            record = await store.get_task(name)
            found = record is not None and space in {None, record.namespace} and not (unfinished and record.result)
            records = [record] if record is not None and found else []
        else:
            records = await store.list_tasks(unfinished, space or "", limit=limit + 1, before=before)
        body: Body = {"items": [show_task(one) for one in records[:limit]]}
        if len(records) > limit:
            last = records[limit - 1]
            body["metadata"] = {"continue": f"{last.created!r}/{last.id}"}
        return answer(body)

    async def one(self, request: web.Request) -> web.Response:
        """Return one task; with `wait=1` once it has ended."""
        name = await self._known(request)
        if flag(request, "wait"):
            await self._system.engine.result(name)
        record = await self._system.engine.get(name)
        if record is None:
            raise NotFound(f"no task {name!r}")
        return answer(show_task(record, full=True))

    async def cancel(self, request: web.Request) -> web.Response:
        """End a task and its children."""
        name = await self._known(request)
        await self._system.engine.cancel(name)
        return answer({"id": name}, status=202)

    async def signal(self, request: web.Request) -> web.Response:
        """Send something to a task; the answer comes when it is on disk."""
        name, body = await self._known(request), await read_body(request, Signal)
        await self._system.engine.send(name, body.name, body.value)
        return answer({"id": name}, status=202)

    async def feedback(self, request: web.Request) -> web.Response:
        """Take what a person thinks of an answer; what came of it is answered when it is on disk.

        Raises:
            Conflict: the task has not ended, or nothing of it is kept.
        """
        name, body = await self._known(request), await read_body(request, Feedback)
        record = await self._system.engine.get(name)
        if record is None:
            raise NotFound(f"no task {name!r}")
        said = Said(body.score, named(body.by, request))
        done = await self._system.feedback.give(record, said, body.note)
        reward = {} if done.after is None else {"reward": {"before": done.before, "after": done.after}}
        moves = [msgspec.to_builtins(one) for one in done.moves]
        return answer({"id": name, "moves": moves, "reason": done.why, **reward}, status=202)

    async def retry(self, request: web.Request) -> web.Response:
        """Run a task anew; the answer names the new one."""
        require_ready(self._system)
        return answer({"id": await self._system.engine.retry(await self._known(request))}, status=202)

    async def resume(self, request: web.Request) -> web.Response:
        """Let a task that cannot go on on its own revision go on on what serves."""
        require_ready(self._system)
        name = await self._known(request)
        await self._system.engine.go_on(name)
        return answer({"id": name}, status=202)

    async def _known(self, request: web.Request) -> str:
        name = request.match_info["name"]
        record = await self._system.engine.get(name)
        if record is None or record.namespace != request.match_info["namespace"]:
            raise NotFound(f"no task {name!r}: `loomd get tasks` lists them")
        return name


async def submitted(system: System, task: Task, key: str) -> tuple[Body, int]:
    """Submit a task, and return the body and the status of the answer.

    Raises:
        Conflict: the key stands for a task that wants something else.
    """
    known = await system.engine.get(task.id) if key else None
    if known is None:
        try:
            return {"id": await system.engine.submit(task)}, 202
        except Conflict:  # somebody else has sent it at the same time
            known = await system.engine.get(task.id) if key else None
            if known is None:
                raise
    if not is_same_wish(task, msgspec.json.decode(known.body, type=Task)):
        raise Conflict(f"the key {key!r} stands for Task/{task.id}, which wants something else")
    return {"id": task.id}, 200


class Followed:
    """The tasks that one reader watches: the newest and those that have not ended, then these and those that moved.

    Args:
        store: where they are.
        space: only those of this namespace.
        name: only this one.
        unfinished: none that had ended before.
    """

    def __init__(self, store: Store, space: str | None, name: str | None, *, unfinished: bool) -> None:
        self._store = store
        self._space = space
        self._name = name
        self._unfinished = unfinished
        self._open: set[str] | None = None

    async def look(self, moment: float, moved: frozenset[str]) -> Sight:
        """Return the tasks that may have changed."""
        del moment
        first, expected = self._open is None, (self._open or set()) | moved
        found: list[TaskRecord] = []
        if self._name is None:
            if first and not self._unfinished:
                found = await self._store.list_tasks(namespace=self._space or "", limit=_PAGE)
            found += await self._store.list_tasks(unfinished=True, namespace=self._space or "")
        records = {one.id: one for one in found}
        for name in expected - records.keys() if self._name is None else {self._name}:
            record = await self._store.get_task(name)
            if record is not None and self._space in {None, record.namespace}:
                records[name] = record
        if self._unfinished:
            records = {name: one for name, one in records.items() if not one.result or name in expected}
        self._open = {name for name, one in records.items() if not one.result}
        return Sight(
            {name: Shown((one.phase, len(one.result)), partial(show_task, one)) for name, one in records.items()},
            whole=False,
        )


def _limit(request: web.Request) -> int:
    """Return how many tasks are asked for: at most, and without a number, a page.

    Raises:
        BadRequest: it is no number.
    """
    return min(whole_number(request.query.get("limit", "0"), "limit") or _PAGE, _PAGE)


def _before(request: web.Request) -> tuple[float, str] | None:
    """Return after which task the list goes on: what an earlier answer said.

    Raises:
        BadRequest: no answer said that.
    """
    said = request.query.get("continue", "")
    if not said:
        return None
    created, _, name = said.partition("/")
    try:
        return float(created), name
    except ValueError:
        raise BadRequest(f"continue: expected what the list before said, got {said[:80]!r}") from None
