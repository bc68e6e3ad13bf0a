"""Who answers in a conversation: a system that was opened for it, or the daemon. Called by `conversation`."""

import asyncio
import getpass
import json
import secrets
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Protocol

import msgspec

from loomd.amoeba.task import Result
from loomd.api.client import Asked, Client, Json
from loomd.cli.listening import insist, listen
from loomd.embed import Embedded
from loomd.engine.intake import Wish, keyed_id
from loomd.errors import LoomdError
from loomd.events.event import Event, TaskCompleted, TaskFailed


class Partner(Protocol):
    """Takes turns, one at a time."""

    def ask(self, goal: str, wish: Wish) -> AsyncGenerator[Event, None]:
        """Yield the events of a turn, its end last; closing it ends the turn."""
        ...

    async def result(self, task: str) -> Result:
        """Return what became of a turn that has ended."""
        ...

    async def agents(self, namespace: str) -> list[str]:
        """Return the names of those with whom a person can talk."""
        ...

    async def decide(self, approval: str, *, agreed: bool, reason: str) -> None:
        """Answer a question of the turn in the name of whoever sits here.

        Raises:
            Conflict: it was answered before, or has expired.
        """
        ...


class Folder:
    """A system in this process; fits `Partner`."""

    def __init__(self, system: Embedded) -> None:
        self._system = system

    def ask(self, goal: str, wish: Wish) -> AsyncGenerator[Event, None]:
        """Yield the events of a turn, its end last; closing it ends the turn."""
        return self._system.stream(goal, **wish)

    async def result(self, task: str) -> Result:
        """Return what became of a turn that has ended."""
        return await self._system.result(task)

    async def agents(self, namespace: str) -> list[str]:
        """Return the names of those with whom a person can talk."""
        declared = self._system.system.services.serving.snapshot.of_kind("Agent")
        return sorted(one.ref.name for one in declared if one.ref.namespace == namespace)

    async def decide(self, approval: str, *, agreed: bool, reason: str) -> None:
        """Answer a question of the turn."""
        await self._system.decide(approval, agreed=agreed, by=getpass.getuser(), reason=reason)


class Daemon:
    """The daemon behind a socket; fits `Partner`. It is listened to in a thread, because its client is synchronous."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def ask(self, goal: str, wish: Wish) -> AsyncGenerator[Event, None]:
        """Yield the events of a turn, its end last; closing it ends the turn."""
        key = secrets.token_hex(16)
        task = keyed_id(self._namespace, key)
        heard: asyncio.Queue[Event | LoomdError] = asyncio.Queue()
        loop, open_ = asyncio.get_running_loop(), asyncio.Event()
        asked = Asked(task=task, when_opened=lambda: loop.call_soon_threadsafe(open_.set))

        def hear() -> None:
            try:
                for said in listen(self._client, asked):
                    event = msgspec.json.decode(json.dumps(said), type=Event)
                    loop.call_soon_threadsafe(heard.put_nowait, event)
                    if _ends(event, task):
                        return
            except LoomdError as error:
                loop.call_soon_threadsafe(heard.put_nowait, error)
                loop.call_soon_threadsafe(open_.set)

        hearing = loop.run_in_executor(None, hear)
        running = False
        try:
            await open_.wait()  # pieces of the answer are not kept: whoever comes later misses them
            body: Json = {"goal": goal, **{name: value for name, value in wish.items() if name != "namespace"}}
            running = True
            await asyncio.to_thread(self._post, "tasks", body=body | {"key": key})
            while True:
                event = await heard.get()
                if isinstance(event, LoomdError):
                    raise event
                yield event
                if _ends(event, task):
                    running = False
                    return
        finally:
            if running:
                with suppress(LoomdError):  # it was not taken, or has just ended
                    await asyncio.to_thread(self._client.delete, "namespaces", self._namespace, "tasks", task)
            asked.end()
            await hearing

    async def result(self, task: str) -> Result:
        """Return what became of a turn that has ended."""
        place = ("namespaces", self._namespace, "tasks", task)
        found = await asyncio.to_thread(insist, lambda: self._client.get(*place, wait="1"))
        return msgspec.json.decode(json.dumps(found["status"]["result"]), type=Result)

    async def agents(self, namespace: str) -> list[str]:
        """Return the names of those with whom a person can talk."""
        found = await asyncio.to_thread(self._client.get, "namespaces", namespace, "agents")
        return sorted(one["metadata"]["name"] for one in found["items"])

    async def decide(self, approval: str, *, agreed: bool, reason: str) -> None:
        """Answer a question of the turn."""
        body = {"verdict": "approved" if agreed else "denied", "reason": reason}
        await asyncio.to_thread(self._post, "approvals", approval, "decision", body=body)

    def _post(self, *parts: str, body: Json) -> Json:
        return self._client.post("namespaces", self._namespace, *parts, body=body)


def _ends(event: Event, task: str) -> bool:
    return event.task == task and isinstance(event.data, TaskCompleted | TaskFailed)
