"""The course of a task and its parts as data: phases, what was decided in them, steps, children, sums.

Made of the events alone, so that it is there while the task runs. `describe` prints it, `explain` tells it in
sentences. It asks nobody and prints nothing. What may be a secret is hidden.
"""

from collections.abc import Callable, Iterable
from typing import Any

from loomd.api.client import Json
from loomd.events.phase import FIRST, phase_after
from loomd.manifest.wording import masked


def trace(root: str, events: Iterable[Json]) -> Json:
    """Return the course of a task.

    Args:
        root: its id.
        events: all events of it and its parts, oldest first.
    """
    course = _Course()
    for event in events:
        course.take(event)
    node = course.node(root)
    _add_up(node)
    return node


Work = tuple[str, str]
"""A task, and the delegation in it; empty for the task's own work."""


_DECIDED = ("proposal", "what", "verdict", "by", "reason")
"""What is told of a decision of a person about a proposal."""


class _Course:
    """Takes events one after another, and puts each where it belongs."""

    def __init__(self) -> None:
        self._nodes: dict[str, Json] = {}
        self._open: dict[Work, Json] = {}  # the last model call of a piece of work, until its step is recorded
        self._ended: dict[Work, list[Json]] = {}  # tool calls of it that ended, until their steps are recorded
        self._wanted: dict[Work, dict[str, Json]] = {}  # arguments of the calls of its last turn, by their ids

    def node(self, task: str) -> Json:
        """Return what is known of a task; one that is new is put below its parent."""
        found = self._nodes.get(task)
        if found is None:
            found = {"task": task, "phase": "Running", "resumed": [], "moves": [], "phases": [], "children": []}
            found |= {"feedback": [], "decided": []}
            self._nodes[task] = found
            parent = self._nodes.get(task.rpartition(".")[0])
            if parent is not None:
                parent["children"].append(found)
        return found

    def take(self, event: Json) -> None:
        """Take the next event."""
        if not event.get("task"):
            return
        node, fact = self.node(event["task"]), masked(event["data"])
        if event.get("revision"):
            node["revision"] = event["revision"]
        take = _TAKERS.get(fact["type"])
        if take is not None:
            take(self, node, fact, event)

    def started(self, node: Json, fact: Json, event: Json) -> None:
        """Note what is wanted; the first phase begins at once."""
        node |= {"goal": fact["goal"], "cluster": fact["cluster"], "started": event["ts"], "phase": "Running"}
        _begin(node, FIRST, event["ts"])

    def resumed(self, node: Json, fact: Json, event: Json) -> None:
        """Note that the task went on after an interruption, in the phase that it was in."""
        node["resumed"].append({"at": event["ts"], "recorded": fact["recorded"]})
        if (phase := _open(node)) is not None:
            phase["resumed"] = [*phase.get("resumed", []), event["ts"]]

    def moved(self, node: Json, fact: Json, event: Json) -> None:
        """Note that the task went over to another revision."""
        node["moves"].append({"at": event["ts"], "before": fact["before"], "after": fact["after"]})

    def ended(self, node: Json, fact: Json, event: Json) -> None:
        """Note what became of the task."""
        node |= {"stopReason": fact["stop_reason"], "ended": event["ts"]}
        if fact["type"] == "task.completed":
            node |= {"phase": "Succeeded", "reward": fact["reward"]}
        else:
            node |= {"phase": "Cancelled" if fact["stop_reason"] == "cancelled" else "Failed", "error": fact["error"]}

    def phase_started(self, node: Json, fact: Json, event: Json) -> None:
        """Begin a phase; only journals of earlier versions say so."""
        phase = _open(node)
        if phase is None or phase["phase"] != fact["phase"]:
            _begin(node, fact["phase"], event["ts"])
        elif "resumed" not in phase:
            phase["began"] = event["ts"]

    def phase_completed(self, node: Json, fact: Json, event: Json) -> None:
        """End a phase with its decision; the next one begins, unless nobody takes the task."""
        phase = _ending(node, fact, event["ts"])
        phase |= {"why": fact["why"], "seconds": fact.get("seconds", 0.0)}
        value = fact.get("value") or {}
        phase["decision"] = {key: one for key, one in value.items() if key not in {"usage", "cost"}}
        if fact["phase"] == "match":
            node["agent"] = value.get("winner", "")
        if fact["phase"] == "execute":
            node["output"] = value.get("outcome", {}).get("output", "")
            phase["decision"]["outcome"] = {
                key: one
                for key, one in value.get("outcome", {}).items()
                if key not in {"output", "citations", "reasoning"}
            }
        following = phase_after(fact["phase"])
        if following is not None and (fact["phase"] != "match" or node["agent"]):
            _begin(node, following, event["ts"])

    def model_called(self, node: Json, fact: Json, event: Json) -> None:
        """Note a model call."""
        usage = {"input": 0, "output": 0, **fact["usage"]}
        step = {"kind": "model", "at": event["ts"], "agent": event.get("agent", ""), "model": fact["model"]}
        step |= _place(event)
        step |= {"tokens": usage, "cost": fact["cost"], "seconds": fact["seconds"]}
        self._open[work_of(node["task"], event)] = step
        _last(node)["steps"].append(step)

    def tool_started(self, node: Json, fact: Json, event: Json) -> None:
        """Note that a tool call began."""
        _last(node)["steps"].append(_call(fact, event) | {"arguments": fact["arguments"]})

    def tool_ended(self, node: Json, fact: Json, event: Json) -> None:
        """Note how a tool call ended; one that was refused never began."""
        steps = _last(node)["steps"]
        within = event.get("within", "")
        calls = [
            one
            for one in steps
            if (one.get("id"), one.get("within", "")) == (fact["call_id"], within)
            and not {"result", "error"} & one.keys()
        ]
        work = work_of(node["task"], event)
        if not calls:
            arguments = self._wanted.get(work, {}).get(fact["call_id"])
            calls = [_call(fact, event) | ({} if arguments is None else {"arguments": arguments})]
            steps.append(calls[0])
        calls[-1].update({key: fact[key] for key in ("result", "error", "seconds") if key in fact})
        self._ended.setdefault(work, []).append(calls[-1])

    def step_completed(self, node: Json, fact: Json, event: Json) -> None:
        """Add what the record of a step knows better than the call's own events."""
        name, work = fact["name"], work_of(node["task"], event)
        value: Any = fact.get("value")
        key = event.get("key", "").removeprefix("step/")
        if name in {"model", "plan", "search:model"}:
            step = self._open.pop(work, None)
            if step is not None:
                step |= {"key": key, "name": name, "text": value.get("text", "")}
                step["calls"] = [call["name"] for call in value.get("tool_calls", ())]
                self._wanted[work] = {call["id"]: call.get("arguments", {}) for call in value.get("tool_calls", ())}
                if thought := "".join(one.get("text", "") for one in value.get("thoughts", ())):
                    step["reasoning"] = thought
        elif name.startswith("tool:"):
            done = self._ended.get(work, [])
            step = next((one for one in reversed(done) if one["tool"] == name[5:] and "key" not in one), None)
            if step is not None:
                step |= {"key": key, "cost": value.get("cost", 0.0)}
                if "result" in step:
                    step["result"] = value["text"]
        elif name == "learned":
            _last(node)["steps"].append({"kind": name, "at": event["ts"], "key": key, "moved": value})
        elif name not in _UNTOLD and not name.startswith("knowledge:"):
            _last(node)["steps"].append({"kind": "step", "at": event["ts"], "name": name, "key": key})

    def noted(self, node: Json, fact: Json, event: Json) -> None:
        """Note what else happened, with all its fields."""
        _last(node)["steps"].append({**fact, "kind": fact["type"], "at": event["ts"]})

    def judged(self, node: Json, fact: Json, event: Json) -> None:
        """Note what a person thinks of the answer."""
        said: Json = {
            key: fact[key] for key in ("score", "by", "note", "before", "after", "why", "counts") if key in fact
        }
        node["feedback"].append({**said, "at": event["ts"], "scores": []})

    def scored(self, node: Json, fact: Json, event: Json) -> None:
        """Note a score that moved because of what a person thinks; what ADAPT moved is in its decision."""
        if event.get("key", "").startswith("learned/feedback/") and node["feedback"]:
            move = fact.get("value", fact)  # of what is proposed or observed, the decision
            moved = {key: move[key] for key in ("domain", "before", "after")}
            by = {"owner": move.get("owner", move.get("agent", "")), "done": move.get("done", "")}
            node["feedback"][-1]["scores"].append({**by, **moved})

    def decided(self, node: Json, fact: Json, event: Json) -> None:
        """Note what a person decided about a change that the task had led to."""
        node["decided"].append({key: fact.get(key, "") for key in _DECIDED} | {"at": event["ts"]})

    def split(self, node: Json, fact: Json, event: Json) -> None:
        """Note the children, which begin later, with their goals."""
        del node, event
        for child, goal in zip(fact["children"], fact["goals"], strict=True):
            self.node(child).update({"goal": goal, "phase": "Pending"} if "goal" not in self.node(child) else {})


def next_attempt(fact: Json) -> str:
    """Return what follows a failed attempt of a model, for people."""
    if after := fact.get("after"):
        return f"{fact['model']} did not answer, {after} was asked instead"
    return f"{fact['model']} did not answer and was asked again after {fact['wait']:.1f} s"


def skill_used(fact: Json) -> str:
    """Return why a skill was taken up, for people."""
    tools = fact.get("tools")
    if tools is None:
        allowed = ""
    else:
        allowed = f"; of the tools only {', '.join(tools)} from then on" if tools else "; no tools from then on"
    return f"skill {fact['skill']} by {fact['trigger']}, because {fact['why']}{allowed}"


def skills_offered(fact: Json) -> str:
    """Return which skills a model could take up, for people."""
    unlisted = fact.get("unlisted")
    room = f"; no room in the list for {', '.join(unlisted)} (spec.skillBudget.catalogue)" if unlisted else ""
    return f"{', '.join(fact['skills']) or 'none'}{room}"


def check_of(fact: Json) -> str:
    """Return what was done about a call, and by whom, for people."""
    what = {"run": "the work", "model": "the model call"}.get(fact["call"], f"the call of {fact['call'][5:]}")
    return f"{fact['by']} {_CHECKS[fact['action']]} {what}"


_UNTOLD = frozenset(("clock", "random", "size", "context", "skills", "interceptors", "forge"))
"""Steps of which there is nothing to see, or which a fact of their own tells."""
_CHECKS = {
    "refused": "refused",
    "changed": "changed",
    "warned": "warned of",
    "skipped": "was skipped for",
    "answered": "answered",
}

_Taker = Callable[[_Course, Json, Json, Json], None]
_TAKERS: dict[str, _Taker] = {
    "task.started": _Course.started,
    "task.resumed": _Course.resumed,
    "task.moved": _Course.moved,
    "task.completed": _Course.ended,
    "task.failed": _Course.ended,
    "phase.started": _Course.phase_started,
    "phase.completed": _Course.phase_completed,
    "agent.split": _Course.split,
    "feedback.given": _Course.judged,
    "proposal.decided": _Course.decided,
    "capability.updated": _Course.scored,
    "proposal.made": _Course.scored,
    "change.observed": _Course.scored,
    "model.called": _Course.model_called,
    "tool.call.started": _Course.tool_started,
    "tool.call.completed": _Course.tool_ended,
    "tool.call.failed": _Course.tool_ended,
    "step.completed": _Course.step_completed,
    "knowledge.searched": _Course.noted,
    "skill.activated": _Course.noted,
    "skill.offered": _Course.noted,
    "memory.compacted": _Course.noted,
    "budget.exceeded": _Course.noted,
    "call.checked": _Course.noted,
    "budget.warning": _Course.noted,
    "task.queued": _Course.noted,
    "context.assembled": _Course.noted,
    "fallback.used": _Course.noted,
    "model.retried": _Course.noted,
    "approval.requested": _Course.noted,
    "approval.resolved": _Course.noted,
}


def _call(fact: Json, event: Json) -> Json:
    return {
        "kind": "tool",
        "at": event["ts"],
        "agent": event.get("agent", ""),
        "tool": fact["tool"],
        "id": fact["call_id"],
        **_place(event),
    }


def work_of(task: str, event: Json) -> Work:
    """Return which piece of work an event belongs to; of a step its key tells."""
    key = event.get("key", "").removeprefix("step/")
    head, delegated, rest = key.rpartition("/agent/")
    inside = f"{head}{delegated}{rest.partition('/')[0]}" if delegated else ""
    return task, event.get("within", "") or inside


def _place(event: Json) -> Json:
    """Return in which delegation something happened, if it was in one."""
    return {"within": event["within"]} if event.get("within") else {}


def _begin(node: Json, name: str, at: float) -> Json:
    """Let a phase begin."""
    phase: Json = {"phase": name, "began": at, "steps": []}
    node["phases"].append(phase)
    return phase


def _open(node: Json) -> Json | None:
    """Return the phase that has begun and not ended."""
    phases: list[Json] = node["phases"]
    return phases[-1] if phases and "why" not in phases[-1] else None


def _ending(node: Json, fact: Json, at: float) -> Json:
    """Return the phase that ends; a task that began anew is in another one than its journal says before that."""
    before = _open(node)
    if before is not None and before["phase"] == fact["phase"]:
        return before
    began = at - fact.get("seconds", 0.0)
    phase = _begin(node, fact["phase"], began)
    if before is not None:
        phase["steps"] = [step for step in before["steps"] if step["at"] >= began]
        before["steps"] = [step for step in before["steps"] if step["at"] < began]
    return phase


def _last(node: Json) -> Json:
    """Return the phase that a task is in; what comes before the first one has a place, too."""
    if not node["phases"]:
        node["phases"].append({"phase": "", "began": 0.0, "steps": []})
    return node["phases"][-1]  # type: ignore[no-any-return]  # decoded JSON


def _add_up(node: Json) -> Json:
    """Add to a task and to all below it what they took, children included, and return that."""
    total: dict[str, Any] = {"modelCalls": 0, "toolCalls": 0, "toolErrors": 0, "input": 0, "output": 0, "cost": 0.0}
    total["unpriced"] = 0
    for step in (step for phase in node["phases"] for step in phase["steps"]):
        if step["kind"] == "model":
            total["modelCalls"] += 1
            total["input"] += step["tokens"]["input"]
            total["output"] += step["tokens"]["output"]
            total["cost"] += step["cost"]
            total["unpriced"] += step["tokens"].get("unpriced", 0)
        elif step["kind"] == "tool":
            total["toolCalls"] += 1
            total["toolErrors"] += "error" in step
            total["cost"] += step.get("cost", 0.0)
    for child in node["children"]:
        for key, value in _add_up(child).items():
            total[key] += value
    node["took"] = dict(total)
    if "started" in node and "ended" in node:
        node["took"]["seconds"] = node["ended"] - node["started"]
    return total
