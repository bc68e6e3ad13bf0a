"""What there is for a person to read in the events of a task: goals, texts, calls, results, errors. Called by `logs`.

A call and its result are told once, the result in full as it was recorded. What may be a secret is hidden.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from loomd.api.client import Json
from loomd.cli.course import Work, check_of, next_attempt, skill_used, work_of
from loomd.manifest.wording import masked

_SHOWN = 500
"""Characters from which on the event of a tool call may hold a part of the result only; the next one has all of it."""


@dataclass(frozen=True)
class Entry:
    """One thing to read.

    Attributes:
        at: wall-clock seconds.
        who: the agent or the part, or both.
        kind: `task`, `says`, `calls`, `gets`, `note`, `error` or `done`.
        text: one or more lines.
    """

    at: float
    who: str
    kind: str
    text: str


class Transcript:
    """Reads the events of a task and its parts, one after another.

    Args:
        root: id of the task.

    Attributes:
        ended: whether the task itself has ended.
    """

    def __init__(self, root: str) -> None:
        self.ended = False
        self._root = root
        self._agents: dict[Work, str] = {}
        self._said: dict[str, str] = {}
        self._held: dict[str, Entry] = {}

    def read(self, event: Json) -> list[Entry]:
        """Return what there is to read in an event."""
        task, fact = event.get("task", ""), masked(event["data"])
        kind = fact["type"]
        if kind == "auction.awarded":
            self._agents[task, ""] = fact["winner"]
        elif kind == "model.called":
            self._agents[work_of(task, event)] = event.get("agent", "")
        entries = self._let_go(task, fact)
        found = self._told(task, kind, fact)
        if found is not None and found[1]:
            agent = event.get("agent", "") or self._agents.get(work_of(task, event), "")
            entry = Entry(event["ts"], self._who(task, agent), *found)
            if kind == "tool.call.completed" and len(fact["result"]) >= _SHOWN:
                self._held[task] = entry
            else:
                entries.append(entry)
        self.ended = self.ended or (task == self._root and kind in {"task.completed", "task.failed"})
        return entries

    def _who(self, task: str, agent: str) -> str:
        part = task[len(self._root) :].lstrip(".")
        name = agent or self._agents.get((task, ""), "")
        return " ".join(one for one in (part, name) if one) or "task"

    def _let_go(self, task: str, fact: Json) -> list[Entry]:
        """Return the result that was held back: whole, when the next event of its task is the record of its step."""
        held = self._held.pop(task, None)
        if held is None:
            return []
        tool = held.text.partition(" -> ")[0]
        if fact["type"] == "step.completed" and fact["name"] == f"tool:{tool}":
            held = replace(held, text=f"{tool} -> {fact['value']['text']}")
        return [held]

    def _told(self, task: str, kind: str, fact: Json) -> tuple[str, str] | None:
        if kind == "step.completed" and fact["name"] in {"model", "plan"}:
            self._said[task] = text = fact["value"].get("text", "")
            return "says", text
        if kind == "phase.completed" and fact["phase"] == "execute":
            return "says", self._answer(task, fact)
        line = _LINES.get(kind)
        return line(fact) if line is not None else None

    def _answer(self, task: str, fact: Json) -> str:
        """Return the answer, unless a model's text was just that."""
        outcome = (fact.get("value") or {}).get("outcome", {})
        text = str(outcome.get("output", ""))
        return "" if text.strip() == self._said.get(task, "").strip() else text


Line = Callable[[Json], tuple[str, str]]


def _asked(fact: Json) -> tuple[str, str]:
    arguments = json.dumps(fact["arguments"], ensure_ascii=False)
    return "note", f"waits for approval {fact['approval']} of {fact['tool']} {arguments}"


def _resolved(fact: Json) -> tuple[str, str]:
    by = f" by {fact['by']}" if fact["by"] else ""
    why = f": {fact['reason']}" if fact["reason"] else ""
    return "note", f"approval {fact['approval']} {fact['verdict']}{by}{why}"


def _judged(fact: Json) -> tuple[str, str]:
    by, why = f" by {fact['by']}" if fact["by"] else "", f": {fact['note']}" if fact["note"] else ""
    after = fact.get("after")
    moved = "" if after is None else f"; its reward is {after:.3f} now"
    return "note", f"the answer was given {fact['score']:g}{by}{why}{moved}"


def _split(fact: Json) -> tuple[str, str]:
    goals = "".join(f"\n{number}. {goal}" for number, goal in enumerate(fact["goals"], start=1))
    return "note", f"split into {len(fact['goals'])} parts{goals}"


_LINES: dict[str, Line] = {
    "task.started": lambda fact: ("task", fact["goal"]),
    "task.resumed": lambda fact: ("note", f"goes on after an interruption; {fact['recorded']} checkpoints are kept"),
    "task.moved": lambda fact: ("note", f"goes on on revision {fact['after']} instead of {fact['before']}"),
    "task.completed": lambda fact: ("done", f"{fact['stop_reason']}, reward {fact['reward']:.2f}"),
    "task.failed": lambda fact: ("error", f"the task failed ({fact['stop_reason']}): {fact['error']}"),
    "tool.call.started": lambda fact: ("calls", f"{fact['tool']} {json.dumps(fact['arguments'], ensure_ascii=False)}"),
    "tool.call.completed": lambda fact: ("gets", f"{fact['tool']} -> {fact['result']}"),
    "tool.call.failed": lambda fact: ("error", f"{fact['tool']} failed: {fact['error']}"),
    "knowledge.searched": lambda fact: (
        "note",
        f"found in {fact['knowledge']}: {', '.join(fact['sources']) or 'nothing'}",
    ),
    "skill.activated": lambda fact: ("note", f"takes up the {skill_used(fact)}"),
    "call.checked": lambda fact: ("note", f"{check_of(fact)}: {fact['reason']}"),
    "task.queued": lambda fact: ("note", f"it waits: {fact['reason']}"),
    "fallback.used": lambda fact: ("note", f"{fact['phase']}: {fact['reason']}; {fact['fallback']}"),
    "model.retried": lambda fact: ("note", f"{next_attempt(fact)}: {fact['reason']}"),
    "budget.warning": lambda fact: (
        "note",
        f"{fact['budget']}: {fact['used']:.10g} of {fact['limit']:.10g} {fact['measure']}",
    ),
    "budget.exceeded": lambda fact: (
        "note",
        f"{fact['stop_reason']}: {fact['used']:.10g} used of {fact['limit']:.10g}",
    ),
    "feedback.given": _judged,
    "agent.split": _split,
    "approval.requested": _asked,
    "approval.resolved": _resolved,
}
