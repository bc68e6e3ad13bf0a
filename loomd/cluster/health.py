"""How well agents did lately, by the rewards of their last tasks. Pure but for what it hears."""

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from loomd.amoeba.decision import ScoreMove, decode
from loomd.amoeba.learning import Illness
from loomd.amoeba.world import Health
from loomd.events.cluster import CapabilityUpdated, ChangeObserved, ProposalMade
from loomd.events.event import Event
from loomd.store.records import Lesson

Member = tuple[str, str]
"""An agent, and the digest of how it behaves."""


class Vitals(msgspec.Struct, frozen=True):
    """How an agent does.

    Attributes:
        health: in one word.
        reason: why, in words.
        mean: mean of the last rewards; 0 without any.
        samples: tasks that were rewarded since it was declared, edited or revived.
        since: when the health became what it is, in wall-clock seconds; 0 when nothing happened yet.
        last: when its last task was rewarded.
    """

    health: Health = "unknown"
    reason: str = "no task was rewarded yet"
    mean: float = 0.0
    samples: int = 0
    since: float = 0.0
    last: float = 0.0


@dataclass
class _Chart:
    rewards: deque[tuple[str, float]]
    samples: int = 0


UNKNOWN = Vitals()
"""How an agent does of which nothing is known."""
CORRECTED = r"learned/feedback/\d+/"
"""How the keys begin of what is told of a score when people say how good an answer was, long ago maybe; a pattern."""
_corrected = re.compile(CORRECTED).match
_UNDONE = (ProposalMade, ChangeObserved)
"""The facts that tell a decision which is not carried out."""


def rewarded(event: Event) -> tuple[str, str, float] | None:
    """Return which agent got a reward, the digest of its behaviour, and the reward; None of any other fact.

    A reward is one when its task ends, whether it moves a score at once, is proposed, or only observed; that a person
    approves it later makes it no other one.
    """
    fact = event.data
    if isinstance(fact, CapabilityUpdated):
        return None if event.key.startswith("proposal/") else (fact.owner, fact.spec, fact.reward)
    if isinstance(fact, _UNDONE):
        move = decode(fact.value)
        return (move.agent, move.spec, move.reward) if isinstance(move, ScoreMove) else None
    return None


class Watch:
    """The health of the members of a cluster as they behave now.

    Attributes:
        known: how each of them does; nothing of one of which no task was rewarded.
    """

    def __init__(self, illness: Illness) -> None:
        """Watch nobody yet."""
        self._illness = illness
        self.known: dict[Member, Vitals] = {}
        self._charts: dict[Member, _Chart] = {}
        self._dying: set[Member] = set()

    def admit(self, agent: str, spec: str, lessons: Sequence[Lesson] = (), since: float = 0.0) -> None:
        """Watch an agent from now on.

        Args:
            agent: its name.
            spec: digest of how it behaves.
            lessons: its rewards, the newest first.
            since: wall-clock seconds before which rewards say nothing any more.
        """
        illness = self._illness
        self._charts[agent, spec] = _Chart(deque(maxlen=max(illness.window, illness.failures)))
        self.known.pop((agent, spec), None)
        self._dying.discard((agent, spec))
        for one in reversed(lessons):
            if one.at > since:
                self._note((agent, spec), one.task, one.reward, one.at)

    def hear(self, event: Event) -> Member | None:
        """Take over a reward; return whose it was, or None when it concerns nobody here."""
        found = rewarded(event)
        if found is None or (member := found[:2]) not in self._charts:
            return None
        self._note(member, event.task, found[2], event.ts, new=not _corrected(event.key))
        return member

    def vitals(self, agent: str, spec: str) -> Vitals:
        """Return how an agent does."""
        return self.known.get((agent, spec), UNKNOWN)

    @property
    def anyone_dying(self) -> bool:
        """Return whether an agent is dying."""
        return bool(self._dying)

    def foretold(self, agent: str, spec: str, reward: float) -> Vitals:
        """Return how an agent will do once it gets one more reward."""
        chart = self._charts.get((agent, spec))
        rewards = [] if chart is None else [one for _, one in chart.rewards]
        before = self.vitals(agent, spec)
        return judge(self._illness, [*rewards, reward], before.samples + 1, before.health)

    def _note(self, member: Member, task: str, reward: float, at: float, *, new: bool = True) -> None:
        """Take over a reward; a task that gets another reward, by feedback or in another domain, counts once.

        One that is not new takes the place of an earlier one of its task, if that still counts.
        """
        chart = self._charts[member]
        places = [at for at, (known, _) in enumerate(chart.rewards) if known == task] if task else []
        if places:
            chart.rewards[places[0]] = (task, reward)
        elif new:
            chart.rewards.append((task, reward))
            chart.samples += 1
        else:
            return
        before = self.known.get(member, UNKNOWN)
        now = judge(self._illness, [one for _, one in chart.rewards], chart.samples, before.health)
        since = before.since if now.health == before.health else at
        self.known[member] = msgspec.structs.replace(now, since=since, last=at if new else before.last)
        if now.health == "dying":
            self._dying.add(member)
        else:
            self._dying.discard(member)


def judge(illness: Illness, rewards: Sequence[float], samples: int, before: Health = "unknown") -> Vitals:
    """Return how an agent does.

    Args:
        illness: the limits.
        rewards: its last rewards, the newest last.
        samples: tasks that were rewarded at all.
        before: what was said of it before its last reward; it is left only when the mean rose by a margin.
    """
    last = list(rewards)[-illness.window :]
    mean = sum(last) / len(last) if last else 0.0
    text = f"mean reward {mean:.2f} over the last {len(last)} task{'s' if len(last) > 1 else ''}"
    if samples < illness.samples:
        return Vitals("unknown", f"{text}; nothing is said before {illness.samples}", mean, samples)
    failed = _failed(rewards, illness.failed)
    if failed >= illness.failures:
        return Vitals("dying", f"the last {failed} tasks failed; {text}", mean, samples)
    dying = illness.dying + (illness.margin if before == "dying" else 0.0)
    warning = illness.warning + (illness.margin if before in {"dying", "warning"} else 0.0)
    if mean < dying:
        return Vitals("dying", f"{text}, below {dying:g}", mean, samples)
    if mean < warning:
        return Vitals("warning", f"{text}, below {warning:g}", mean, samples)
    return Vitals("good", text, mean, samples)


def _failed(rewards: Sequence[float], limit: float) -> int:
    """Return how many of the last rewards are below a limit, one after another."""
    for count, reward in enumerate(reversed(rewards)):
        if reward >= limit:
            return count
    return len(rewards)
