"""A recorded task, made ready to be run again. Called by the player and by `export`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from loomd.amoeba.task import Task
from loomd.cassette import Taped, TapedTool, plain, requests
from loomd.events.event import AnyFact, ApprovalRequested, ApprovalResolved, PhaseCompleted, subject
from loomd.events.phase import Phase
from loomd.messages import JsonObject, Request

T = TypeVar("T")

_decode = msgspec.json.decode


@dataclass(frozen=True)
class Reel:
    """A recorded task, made ready."""

    task: Task
    taped: Taped
    facts: Mapping[str, AnyFact]
    requests: Mapping[str, Request]
    arguments: Mapping[str, JsonObject]

    def value(self, phase: Phase, shape: type[T]) -> T | None:
        """Return the recorded output of a phase."""
        fact = self.facts.get(f"phase/{phase}")
        return _decode(fact.value, type=shape) if isinstance(fact, PhaseCompleted) else None


def accepted(taped: Taped) -> Task:
    """Return a recorded task as it was accepted."""
    return _decode(taped.task, type=Task)


def reel(taped: Taped, tools: Mapping[str, TapedTool]) -> Reel:
    """Return a recorded task, ready to be run."""
    facts = {_place(step.key, step.fact): step.fact for step in taped.steps}
    asked = {step.key: plain(request) for step, request in requests(taped, tools)}
    arguments = {step.key: step.arguments for step in taped.steps if step.arguments is not None}
    return Reel(accepted(taped), taped, facts, asked, arguments)


def _place(key: str, fact: AnyFact) -> str:
    """Return under which key a fact is looked up: questions and decisions by the step that they are about."""
    if isinstance(fact, ApprovalRequested | ApprovalResolved):
        return f"{key.partition('/')[0]}/{subject(key, fact)}"
    return key
