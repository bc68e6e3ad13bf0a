"""Lets agents evolve beside tasks, in the clusters that serve: one agent of a cluster at a time.

A reward makes an agent be looked at: whether its new instructions do worse than the old ones did and go back, and
whether it does so badly that it gets new ones. No task waits for that. What goes on when the daemon ends, or when
another set serves in which the cluster is another one, is given up without a trace and begins anew. Called by `daemon`
and `lifecycle`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from loomd.amoeba.adapt import within
from loomd.amoeba.decision import Shaping
from loomd.cluster.cluster import Cluster
from loomd.cluster.health import rewarded
from loomd.cluster.versions import revert, revert_key, reverted, worse
from loomd.errors import Conflict, LoomdError, NotFound, Temporary
from loomd.events.cluster import CapabilityUpdated, ChangeObserved, ProposalMade
from loomd.events.event import Event
from loomd.evolution.evolution import Evolution, Scant, due
from loomd.manifest.object import Ref
from loomd.store.finish import finish
from loomd.topology import Services, Topology

_log = logging.getLogger("loomd.evolution")


class Evolutions:
    """All clusters that serve.

    Args:
        services: what the daemon lends.
        topology: returns what serves now.
        ended: returns once a task has ended and is stored; NotFound or Conflict says that it does not run.
    """

    def __init__(
        self, services: Services, topology: Callable[[], Topology], ended: Callable[[str], Awaitable[object]]
    ) -> None:
        self._services = services
        self._topology = topology
        self._ended = ended
        self._rewarded: dict[Ref, dict[str, str]] = {}
        """Names of the agents that are to be looked at, by cluster, in order, and for which task if for one."""
        self._known: dict[Ref, Cluster] = {}
        self._busy: set[Ref] = set()
        self._scant = Scant()
        self._going: dict[Ref, tuple[Topology, Callable[[], None]]] = {}
        """On which topology an agent of a cluster evolves, and what interrupts that."""
        self._moved = asyncio.Event()

    async def run(self, takes_work: Callable[[], bool]) -> None:
        """Look at agents as they are rewarded, until cancelled.

        Args:
            takes_work: says whether the daemon takes work now.
        """
        unsubscribe = self._services.bus.subscribe(self._hear, CapabilityUpdated, ProposalMade, ChangeObserved)
        try:
            with self._services.serving.listening(self._moved.set):
                async with asyncio.TaskGroup() as group:
                    self._settle()
                    while True:
                        for ref in self._waiting() if takes_work() else ():
                            self._busy.add(ref)
                            group.create_task(self._attend(ref))
                        await self._moved.wait()
                        self._moved.clear()
                        self._settle()
        finally:
            unsubscribe()

    async def tick(self) -> None:
        """Look at every agent of every cluster that serves, and return when all that is due is done."""
        self._known.clear()
        self._settle()
        for ref in self._waiting():
            self._busy.add(ref)
            await self._attend(ref)

    def leave(self, topology: Topology) -> None:
        """Interrupt what goes on on a topology that was given up and is to close; it begins anew on what serves."""
        for held, interrupt in list(self._going.values()):
            if held is topology:
                interrupt()

    def _settle(self) -> None:
        """Know the clusters that serve now; of one that is new every agent is looked at."""
        serving = {ref: live for ref, live in self._topology().live.items() if isinstance(live, Cluster)}
        for ref, cluster in serving.items():
            if self._known.get(ref) is not cluster:
                self._rewarded[ref] = dict.fromkeys(cluster.agents, "")
        self._known = serving
        self._rewarded = {ref: names for ref, names in self._rewarded.items() if ref in serving}

    def _waiting(self) -> list[Ref]:
        return [ref for ref, names in self._rewarded.items() if names and ref not in self._busy]

    def _hear(self, event: Event) -> None:
        """Note who was rewarded, whether that moves a score at once or not."""
        if (found := rewarded(event)) is not None:
            for ref, cluster in self._known.items():
                if ref.namespace == event.namespace and found[0] in cluster.agents:
                    self._rewarded.setdefault(ref, {})[found[0]] = event.task
                    self._moved.set()

    async def _attend(self, ref: Ref) -> None:
        """Look at the agents of one cluster that were rewarded; whatever goes wrong is its own."""
        try:
            while names := self._rewarded.get(ref):
                name, task = next(iter(names.items()))
                del names[name]
                try:
                    await self._stored(task)
                    await self._look(ref, name)
                except LoomdError as error:
                    _log.warning("%s: Agent/%s could not be looked at: %s", ref, name, error)
                except Exception:
                    _log.exception("%s: Agent/%s could not be looked at", ref, name)
        finally:
            self._busy.discard(ref)

    async def _look(self, ref: Ref, name: str) -> None:
        """Give an agent old instructions back, or new ones, when that is due; on what serves now, which stays open."""
        topology = self._topology()
        async with topology.lease():
            cluster = topology.live.get(ref)
            if not isinstance(cluster, Cluster) or cluster.learning.mode_of("evolve") == "off":
                return
            if name not in cluster.agents or await self._goes_back(cluster, name):
                return
            agent = cluster.agents[name]
            task = await due(self._services, cluster, agent)
            if task is not None and not await self._scant.holds(self._services.store.learning, cluster, agent):
                await self._evolve(topology, cluster, name, task)

    async def _stored(self, task: str) -> None:
        """Wait for the end of a task that is told to be rewarded, which follows at once; then its reward is stored.

        The end of a part is not waited for, because it does not run by itself, and its whole may take long. Its reward
        was handed to the store before, which stores in that order.
        """
        if not task:
            return
        try:
            await self._ended(task)
        except (NotFound, Conflict):
            await self._services.store.settled()

    async def _goes_back(self, cluster: Cluster, name: str) -> bool:
        """Give an agent its earlier instructions back when the new ones do worse; return whether they do."""
        learning, agent = self._services.store.learning, cluster.agents[name]
        why = await worse(learning, cluster, agent, cluster.learning.evolve.probation)
        if not why:
            return False

        def decide() -> Shaping:
            if cluster.agents.get(name) is not agent:
                raise Conflict("it is another one now than when it was looked at")
            back = reverted(cluster, name, None, why)
            return next(one for one in within(cluster.learning, [back]) if isinstance(one, Shaping))

        back = decide()
        if not back.done or not await self._services.store.learned_from(revert_key(cluster.ref, back)):
            await finish(revert(self._services, cluster, decide))  # people are asked once
        return True

    async def _evolve(self, topology: Topology, cluster: Cluster, name: str, task: str) -> None:
        """Let an agent evolve until its time is over; when it has to leave its topology, it is looked at again.

        What is decided then is carried out, however long it takes to store it.
        """
        seconds, loop, interrupted = cluster.learning.evolve.time, asyncio.get_running_loop(), False
        evolution = Evolution(
            self._services, cluster, cluster.agents[name], task, self._services.clock.now() + seconds, self._scant
        )

        def interrupt() -> None:
            nonlocal interrupted
            if not timer.expired():
                interrupted = True
                timer.reschedule(loop.time())

        def heed() -> None:
            if self._topology().live.get(cluster.ref) is not cluster:
                interrupt()

        timer = asyncio.timeout(seconds)
        try:
            async with timer:
                self._going[cluster.ref] = (topology, interrupt)
                with self._services.serving.listening(heed):
                    came = await evolution.attempt()
                    if timer.expired():  # as it ended; its time is over nevertheless
                        await asyncio.sleep(0)
        except TimeoutError:
            if interrupted:
                self._rewarded.setdefault(cluster.ref, {})[name] = ""
                return
            came = Temporary(f"it took longer than {seconds:g} s")
        finally:
            self._going.pop(cluster.ref, None)
        await evolution.settle(came)
