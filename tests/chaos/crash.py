"""The crash suite: daemons take a stream of tasks and are killed, again and again; what they promised is then audited.

`make chaos` runs it long: `python -m tests.chaos.crash --tasks 5000 --seed 7`. A seed fixes the tasks, the answers of
people and the moments of the kills; what the machine does in between it cannot fix.
"""

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector

from loomd.api.path import PREFIX
from tests.chaos.audit import Promises, audit
from tests.chaos.system import Wish, sort_of, wishes, write_system
from tests.nursery import Process

EPISODE = 500
"""Tasks that share a state directory."""
_TASKS = f"http://loomd{PREFIX}/namespaces/default/tasks"
_APPROVALS = f"http://loomd{PREFIX}/namespaces/default/approvals"
_SHORTEST, _LONGEST = 0.1, 2.0
"""Seconds for which a daemon lives."""
_EARLY = 0.15
"""Share of daemons whose life is counted from their start, not from when they take work."""
_PATIENCE = 60.0
"""Seconds in which everything must have come to its end once nothing is killed any more."""


@dataclass
class Tally:
    """What happened."""

    kills: int = 0
    early: int = 0
    seconds: float = 0.0
    ends: Counter[str] = field(default_factory=Counter[str])

    def said(self) -> str:
        """Return it in words."""
        ends = ", ".join(f"{count} {end}" for end, count in self.ends.most_common())
        return f"{self.kills} kills ({self.early} before it took work), {self.seconds:.0f} s; {ends}"


class Starter:
    """Starts daemons, and tells what became of them."""

    def __init__(self, *, by_command: bool = False) -> None:
        self._start: Any = subprocess.Popen if by_command else Process
        self._running: dict[int, subprocess.Popen[bytes] | Process] = {}

    def start(self, home: Path) -> int:
        """Return the process id of a new daemon."""
        (home / "loomd.yaml").write_text("".join(f"{name}: {value}\n" for name, value in settings(home).items()))
        command = (sys.executable, "-m", "loomd", "serve", "--config", str(home / "loomd.yaml"))
        with (home / "log").open("ab") as log:
            process = self._start(command, stdout=log, stderr=log)
        self._running[process.pid] = process
        return int(process.pid)

    async def ended(self, pid: int) -> int:
        """Return the exit code of a daemon once it has ended."""
        return await asyncio.to_thread(self._running.pop(pid).wait)


def settings(home: Path) -> dict[str, object]:
    """Return the settings of the daemon of a folder."""
    return {
        "stateDir": str(home / "state"),
        "modelsDir": str(home / "models"),
        "socket": str(home / "s"),
        "watch": [str(home / "manifests")],
        "quietWindow": "50ms",
    }


class Episode:
    """One state directory, from its first task to its last."""

    def __init__(self, home: Path, seed: int, count: int, starter: Starter) -> None:
        self._home = home
        self._draw = random.Random(seed)
        self._people = random.Random(seed)
        self._wanted = list(wishes(self._draw, count))
        self._starter = starter
        self.promises = Promises()
        self.tally = Tally()

    async def run(self) -> Tally:
        """Live and die until all is submitted; then let it end."""
        write_system(self._home / "manifests")
        began = time.monotonic()
        while self._wanted:
            await self._live(last=False)
            audit(self._home, self.promises)
        await self._live(last=True)
        self.tally.ends = audit(self._home, self.promises, last=True)
        self.tally.seconds = time.monotonic() - began
        return self.tally

    async def _live(self, *, last: bool) -> None:
        """Run one daemon; kill it unless it is the last one."""
        after = _SHORTEST * (_LONGEST / _SHORTEST) ** self._draw.random()
        early = self._draw.random() < _EARLY
        load = self._draw.randint(10, 18)
        pid = self._starter.start(self._home)
        try:
            async with ClientSession(
                connector=UnixConnector(str(self._home / "s"), limit=50), timeout=ClientTimeout(total=30)
            ) as session:
                if last:
                    await self._until_ready(session)
                    await self._until_all_ended(session)
                else:
                    await self._be_killed(session, pid, after, load, early=early)
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM if last else signal.SIGKILL)
            code = await self._starter.ended(pid)
        assert code == (0 if last else -signal.SIGKILL), (code, self.log)

    @property
    def log(self) -> str:
        """Return the end of what the daemons logged."""
        return (self._home / "log").read_text()[-4000:]

    async def _be_killed(self, session: ClientSession, pid: int, after: float, load: int, *, early: bool) -> None:
        """Give it work, and kill it in the middle."""
        working = asyncio.ensure_future(self._work(session, load))
        try:
            if not early:
                await self._until_ready(session)
            await asyncio.sleep(after)
        finally:
            os.kill(pid, signal.SIGKILL)
            working.cancel()
            await asyncio.wait([working])
        assert working.cancelled() or working.exception() is None, working.exception()
        self.tally.kills += 1
        self.tally.early += early

    async def _until_ready(self, session: ClientSession) -> None:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            with suppress(ClientError, OSError):
                async with session.get("http://loomd/readyz") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.01)
        raise AssertionError(f"it never took work:\n{self.log}")

    async def _work(self, session: ClientSession, load: int) -> None:
        """Submit so many tasks, a few at a time, and answer what tasks ask meanwhile."""
        await self._until_ready(session)
        wanted = iter(self._wanted[:load])
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(self._submit(session, wanted))
            group.create_task(self._tend(session))

    async def _submit(self, session: ClientSession, wanted: Iterator[Wish]) -> None:
        """Submit one task after the other; what is not acknowledged stays wanted."""
        for wish in wanted:
            with suppress(ClientError, OSError):
                body = {"goal": wish.goal, "seed": wish.number}
                async with session.post(_TASKS, json=body) as response:
                    said = await response.json()
                    assert response.status == 202, said
                self.promises.accepted[said["id"]] = wish
                self._wanted.remove(wish)

    async def _tend(self, session: ClientSession) -> None:
        """Be the people: decide, signal, cancel, until there is nobody to talk to."""
        while True:
            with suppress(ClientError, OSError):
                await self._answer(session)
                async with session.get(_TASKS, params={"unfinished": "1"}) as response:
                    waiting = (await response.json())["items"]
                for task in waiting:
                    await self._touch(session, task["metadata"]["name"], task["spec"]["goal"])
            await asyncio.sleep(0.05)

    async def _answer(self, session: ClientSession) -> None:
        """Decide whatever is asked."""
        async with session.get(_APPROVALS, params={"pending": "1"}) as response:
            asked = (await response.json())["items"]
        for one in asked:
            name, verdict = one["metadata"]["name"], self._people.choice(["approved", "denied"])
            async with session.post(f"{_APPROVALS}/{name}/decision", json={"verdict": verdict}) as response:
                if response.status == 200:
                    self.promises.decided[name] = verdict

    async def _touch(self, session: ClientSession, task: str, goal: str) -> None:
        """Send a task what it waits for; cancel one that takes too long."""
        if (sort := sort_of(goal)) == "post" and task not in self.promises.sent:
            value = self._people.randrange(1000)
            async with session.post(f"{_TASKS}/{task}/signals", json={"name": "post", "value": value}) as response:
                if response.status == 202:
                    self.promises.sent[task] = value
        elif sort == "slow":
            async with session.delete(f"{_TASKS}/{task}") as response:
                if response.status == 202:
                    self.promises.cancelled.add(task)

    async def _until_all_ended(self, session: ClientSession) -> None:
        tending = asyncio.ensure_future(self._tend(session))
        deadline = time.monotonic() + _PATIENCE
        try:
            while True:
                async with session.get(_TASKS, params={"unfinished": "1"}) as response:
                    waiting = (await response.json())["items"]
                if not waiting:
                    return
                assert time.monotonic() < deadline, f"these never ended: {waiting}\n{self.log}"
                await asyncio.sleep(0.05)
        finally:
            tending.cancel()
            await asyncio.wait([tending])


async def run(folder: Path, seed: int, count: int, *, by_command: bool = False) -> list[Tally]:
    """Run episodes below a folder until there were so many tasks; each has a seed of its own, counted from `seed`."""
    tallies: list[Tally] = []
    for at, first in enumerate(range(0, count, EPISODE)):
        home = folder / str(at)
        home.mkdir()
        size = min(EPISODE, count - first)
        episode = Episode(home, seed + at, size, Starter(by_command=by_command))
        try:
            tallies.append(await episode.run())
        except BaseException as error:
            error.add_note(f"reproduce: python -m tests.chaos.crash --seed {seed + at} --tasks {size}; see {home}")
            raise
        sys.stdout.write(f"seed {seed + at}: {size} tasks, {tallies[-1].said()}\n")
    return tallies


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=EPISODE)
    parser.add_argument("--seed", type=int, default=None, help="a random one by default")
    parser.add_argument("--command", action="store_true", help="start every daemon as `loomd serve`, imports included")
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    folder = Path(tempfile.mkdtemp(prefix="loomd-chaos-"))
    asyncio.run(run(folder, seed, asked.tasks, by_command=asked.command))


if __name__ == "__main__":
    main()
