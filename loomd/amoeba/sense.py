"""SENSE: what kind of task is this? Gathers the signals, and leaves the judgement to the policy."""

from functools import partial

import msgspec

from loomd.amoeba import deciding
from loomd.amoeba.account import billed
from loomd.amoeba.asking import Asking
from loomd.amoeba.deciding import PolicyFailed, asked, decided
from loomd.amoeba.policies.base import SensePolicy
from loomd.amoeba.policies.heuristic import Heuristic
from loomd.amoeba.task import GENERAL, Sensed, Task
from loomd.amoeba.world import Signals, World

_BY_WORDS = "the goal is compared by shared words"
_BY_HEURISTIC = "judged by the heuristic"
_AS_BEFORE = "it fits the domains that it fitted before"
_WITHOUT = "past tasks are not looked at"


async def sense(task: Task, world: World, policy: SensePolicy, asking: Asking) -> Sensed:
    """Return what kind of task this is.

    Without the embedder the goal is compared by words, and a policy that fails is replaced by the heuristic; both are
    told.
    """
    signals = await world.signals(task)
    try:
        sensed = await asked("sense", policy, partial(policy.sense, signals, asking), deciding.sensed, asking)
    except PolicyFailed as error:
        asking.fall_back(str(error), _BY_HEURISTIC)
        sensed = await Heuristic().sense(signals, asking)
    if signals.lost:
        asking.fall_back(signals.lost, _BY_WORDS)
        sensed = msgspec.structs.replace(sensed, evidence=(*sensed.evidence, f"{_BY_WORDS}: {signals.lost}"))
    if signals.unread:
        asking.fall_back(signals.unread, _WITHOUT)
        sensed = msgspec.structs.replace(sensed, evidence=(*sensed.evidence, f"{_WITHOUT}: {signals.unread}"))
    return billed(corrected(sensed, signals), asking.spent)


async def placed(sensed: Sensed, task: Task, world: World, policy: SensePolicy, asking: Asking) -> Sensed:
    """Return a task that goes on before MATCH has ended: one that fitted no domain may fit one that came since."""
    if GENERAL not in sensed.domains:
        return sensed
    likeness = (await world.signals(task)).likeness
    try:
        domains = decided("sense", policy, partial(policy.placed, likeness), deciding.placed)
    except PolicyFailed as error:
        asking.fall_back(str(error), _AS_BEFORE)
        return sensed
    return msgspec.structs.replace(sensed, domains=domains) if domains else sensed


def corrected(sensed: Sensed, signals: Signals) -> Sensed:
    """Return what a task is taken for in the light of what earlier ones of its domains really took.

    What is corrected is what the text alone says; what past tasks say that are like it was measured.
    """
    known = {domain: signals.bias[domain] for domain in sensed.domains if domain in signals.bias}
    wanted = sum([bias * sensed.domains[domain] for domain, bias in known.items()])
    bounded = min(signals.most, max(-signals.most, wanted)) * (1 - sensed.past)
    complexity = min(1.0, max(0.0, sensed.complexity + bounded))
    if complexity == sensed.complexity:
        return sensed
    correction = complexity - sensed.complexity
    text = ", ".join([f"{domain} {bias:+.2f}" for domain, bias in known.items()])
    evidence = f"corrected by {correction:+.2f} from {sensed.complexity:.2f}, by what earlier tasks took: {text}"
    return msgspec.structs.replace(
        sensed, complexity=complexity, correction=correction, evidence=(*sensed.evidence, evidence)
    )


def explain(sensed: Sensed) -> str:
    """Return the phase's output in one line."""
    domains = ", ".join([f"{name} {weight:.0%}" for name, weight in sensed.domains.items()])
    return f"complexity {sensed.complexity:.2f}; {domains}; about {sensed.tokens} tokens"
