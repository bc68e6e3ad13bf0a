"""A task for people: its course as a tree, with all that was decided and done in it. Called by `describe`."""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter

from loomd.api.client import Json
from loomd.cli.course import check_of, next_attempt, skill_used, skills_offered
from loomd.cli.page import pairs, section
from loomd.manifest.wording import without_secrets

_SHOWN = 100
"""Characters of a text or of arguments that a line shows."""

NOT_KEPT = "nothing of it is kept (durability: none): its events reach who listens while it runs"

Branch = tuple[str, Sequence["Branch"]]
"""A line with the lines that hang on it."""


def as_data(item: Json, course: Json) -> Json:
    """Return a task with its course, as data.

    Args:
        item: the task as the API shows it.
        course: what `course.trace` made of its events.
    """
    status = {key: value for key, value in item["status"].items() if key != "result"}
    return {**item, "status": {**status, "course": course}}


def describe(item: Json, course: Json) -> None:
    """Print a task.

    Args:
        item: the task as the API shows it.
        course: what `course.trace` made of its events.
    """
    spec, status = item["spec"], item["status"]
    pairs(
        [
            ("Task", item["metadata"]["name"]),
            ("Goal", without_secrets(spec["goal"])),
            ("Images", ", ".join(f"{one['media']} {one['data'][:19]}" for one in spec.get("images", ()))),
            ("Files", ", ".join(one["goal"] for one in spec.get("findings", ()) if one.get("file"))),
            ("Declared", f"Task/{spec['declared']}" if spec.get("declared") else ""),
            ("Attempt", f"{spec.get('attempt', 1)} of at most {spec['retries'] + 1}" if spec.get("retries") else ""),
            ("Tried again", f"task/{status['retried']}" if "retried" in status else ""),
            ("Cluster", spec.get("cluster", "")),
            ("Phase", status["phase"]),
            ("Reason", status.get("reason", "")),
            ("Stop reason", status.get("stopReason", "") or course.get("stopReason", "")),
            ("Stopped at", without_secrets(status.get("stopNote", ""))),
            ("Agent", status.get("agent", "") or course.get("agent", "")),
            ("Created", _moment(item["metadata"]["created"])),
            ("Seed", str(spec.get("seed", 0))),
            ("Pinned to", spec.get("revision", "")),
            *(("Moved", f"{_moment(one['at'])} from {one['before']} to {one['after']}") for one in course["moves"]),
            ("Interrupted", _times(len(course["resumed"]))),
            ("Reward", f"{status['reward']:.3f}" if "reward" in status else ""),
            *(("Feedback", _said(one)) for one in course["feedback"]),
            *(("Decided", f"{decided(one)}, {_moment(one['at'])}") for one in course["decided"]),
            ("Took", took(course["took"]) if course["phases"] else ""),
            ("Error", without_secrets(status.get("error", ""))),
        ]
    )
    section("Phases", list(_drawn(_phases(course))))
    if spec.get("durability") == "none":
        section("Phases", [NOT_KEPT])
    elif not course["phases"] and "stopReason" in status:
        section("Phases", ["its events are not there any more: retention removed them"])
    section("Reasoning", without_secrets(str(status.get("reasoning", ""))).splitlines())
    section("Answer", without_secrets(str(status.get("output", ""))).splitlines())
    section("Sources", [f"[{c['number']}] {c['source']}" for c in status.get("citations", ())])


def _said(feedback: Json) -> str:
    """Return what a person thinks of the answer."""
    note = f": {without_secrets(feedback['note'])}" if feedback["note"] else ""
    moved = ""
    if feedback.get("after") is not None:
        moved = f" (reward {feedback['before']:.3f} -> {feedback['after']:.3f})"
    return f"{feedback['score']:g} by {feedback['by'] or 'somebody'}, {_moment(feedback['at'])}{moved}{note}"


def decided(one: Json) -> str:
    """Return what a person decided about a change that the task had led to."""
    by, why = f" by {one['by']}" if one["by"] else "", f": {without_secrets(one['reason'])}" if one["reason"] else ""
    return f"proposal/{one['proposal']} ({one['what']}) was {one['verdict']}{by}{why}"


def took(total: Json) -> str:
    """Return in one line what a task took, its children included."""
    said = [_count(total["modelCalls"], "model call"), _count(total["toolCalls"], "tool call")]
    if total["toolErrors"]:
        said[-1] += f" ({total['toolErrors']} failed)"
    said.append(f"{total['input']}+{total['output']} tokens")
    if total["cost"]:
        said.append(f"{total['cost']:.6f} USD")
    if total["unpriced"]:
        said.append(f"no price known of {total['unpriced']} tokens")
    if "seconds" in total:
        said.append(f"{total['seconds']:.3f} s")
    return ", ".join(said)


def short(value: object) -> str:
    """Return a value on one line, cut to a readable length; not within a command, which would be another one."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    if len(text) <= _SHOWN:
        return text
    kept = text[: _SHOWN - 3]
    if kept.count("`") % 2:
        kept = kept[: kept.rindex("`")]
    return f"{kept.rstrip()}..."


def _phases(node: Json) -> list[Branch]:
    found: list[Branch] = []
    for phase in node["phases"]:
        state = f"{phase['seconds']:.3f}s" if "why" in phase else "begun"
        again = f" (interrupted {_times(len(phase['resumed']))})" if "resumed" in phase else ""
        head = f"{phase['phase']:<8} {state:>8}  {without_secrets(phase.get('why', ''))}{again}".rstrip()
        below: list[Branch] = [(line, ()) for line in _bids(phase.get("decision", {}).get("bids", []))]
        done: list[tuple[float, Branch]] = [
            (step["at"], (line, _below(step))) for step in phase["steps"] if (line := _step(step))
        ]
        if phase["phase"] == "execute":
            done += [(one.get("started", math.inf), (_child(one), _phases(one))) for one in node["children"]]
        below += [branch for _, branch in sorted(done, key=itemgetter(0))]
        found.append((head, below))
    return found


def _child(node: Json) -> str:
    end = " ".join(one for one in (node["phase"], node.get("stopReason", "")) if one)
    reward = f", reward {node['reward']:.2f}" if "reward" in node else ""
    failed = f": {short(node['error'])}" if node.get("error") else ""
    agent = f" by {node['agent']}" if node.get("agent") else ""
    return f"task/{node['task']}{agent}: {short(node.get('goal', ''))} [{end}{reward}; {took(node['took'])}]{failed}"


def _bids(bids: Sequence[Json]) -> list[str]:
    width = max((len(bid["agent"]) for bid in bids), default=0)
    return [
        f"bid {bid['agent']:<{width}}  {bid['total']:.3f}  "
        + " ".join(f"{key}={value:.2f}" for key, value in bid["factors"].items())
        for bid in bids
    ]


def _step(step: Json) -> str:
    """Return the line of a step, or nothing for one of which there is nothing to see."""
    kind = step["kind"]
    line = _model(step) if kind == "model" else _tool(step) if kind == "tool" else _note(kind, step)
    depth = step.get("within", "").count("/agent/")
    return f"{'  ' * depth}{step['agent']}: {line}" if depth and line else line


def _model(step: Json) -> str:
    kind = "wrap-up" if "/wrap-up/" in step.get("key", "") else step.get("name", "model")
    tokens, cost = step["tokens"], f"{step['cost']:.6f} USD, " if step["cost"] else ""
    cost = "price not known, " if tokens.get("unpriced") else cost
    calls = f"calls {', '.join(step['calls'])}" if step.get("calls") else ""
    thought = f"thinks: {short(step['reasoning'])}" if step.get("reasoning") else ""
    said = "; ".join(one for one in (thought, short(step.get("text", "")), calls) if one)
    taken = f"{tokens['input']}+{tokens['output']} tokens, {cost}{step['seconds']:.3f}s"
    return f"{kind:<7} {step['model']} ({taken}){f' -> {said}' if said else ''}"


def _tool(step: Json) -> str:
    cost = f"{step['cost']:.6f} USD" if step.get("cost") else ""
    taken = ", ".join(one for one in (cost, f"{step['seconds']:.3f}s" if "seconds" in step else "") if one)
    wanted = f" {short(step['arguments'])}" if "arguments" in step else ""
    end = f"failed: {short(step['error'])}" if "error" in step else short(step.get("result", "no end recorded"))
    return f"tool    {step['tool']}{wanted}{f' ({taken})' if taken else ''} -> {end}"


def _note(kind: str, step: Json) -> str:
    told = _NOTES.get(kind)
    return told(step) if told is not None else ""


def _answer(step: Json) -> str:
    by = f" by {step['by']}" if step["by"] else ""
    why = f": {short(step['reason'])}" if step["reason"] else ""
    return f"answer  approval {step['approval']} {step['verdict']}{by} after {step['seconds']:.0f}s{why}"


def _context(step: Json) -> str:
    said = ", ".join(f"{one['source']} {one['tokens']}" for one in step["sources"] if one["tokens"])
    sizes = f"{step['tokens']} of {step['window']} tokens"
    return f"context {sizes} ({said}; {step['characters']:.2f} characters each)"


def _limit(step: Json) -> str:
    whose = f" of {step['budget']}" if step.get("budget", "run") != "run" else ""
    return f"limit   {step['stop_reason']}{whose}: {step['used']:.10g} used of {step['limit']:.10g}"


def _learned(step: Json) -> str:
    moved = ", ".join(f"{name} {before:.2f} -> {after:.2f}" for name, (before, after) in step["moved"].items())
    return f"learns  {moved}" if moved else ""


_NOTES: dict[str, Callable[[Json], str]] = {
    "knowledge.searched": lambda step: f"search  {step['knowledge']}: {', '.join(step['sources']) or 'nothing found'}",
    "skill.activated": lambda step: f"takes   {skill_used(step)}",
    "skill.offered": lambda step: f"offers  skills {skills_offered(step)}",
    "context.assembled": _context,
    "budget.exceeded": _limit,
    "budget.warning": lambda step: (
        f"warning {step['budget']}: {step['used']:.10g} of {step['limit']:.10g} {step['measure']} used"
    ),
    "learned": _learned,
    "memory.compacted": lambda step: f"forgets {step['dropped']} earlier turns, {step['kept']} are left in the window",
    "call.checked": lambda step: f"check   {check_of(step)}: {short(step['reason'])}",
    "task.queued": lambda step: f"waits   {short(step['reason'])}",
    "fallback.used": lambda step: f"instead {step['fallback']}: {short(step['reason'])}",
    "model.retried": lambda step: f"again   {next_attempt(step)}: {short(step['reason'])}",
    "approval.requested": lambda step: (
        f"asks    approval {step['approval']}: {step['tool']} {short(step['arguments'])}"
    ),
    "approval.resolved": _answer,
    "step": lambda step: f"step    {step['name']}",
}


def _below(step: Json) -> list[Branch]:
    """Return what hangs below a step: what of a prompt was left out, and why."""
    return [(f"cut {left_out(one)}", ()) for one in step.get("cut", ())] if step["kind"] == "context.assembled" else []


def left_out(one: Json) -> str:
    """Return what was left out of a prompt, on one line."""
    size = f"{one['kept']} of {one['tokens']} tokens kept" if one.get("kept") else f"{one['tokens']} tokens"
    return f"{one['source']}: {short(one['item'])} ({size}): {one['why']}"


def _drawn(branches: Iterable[Branch], before: str = "") -> Iterator[str]:
    """Yield the lines of a tree."""
    rows = list(branches)
    for at, (text, below) in enumerate(rows, start=1):
        last = at == len(rows)
        yield f"{before}{'└─' if last else '├─'} {text}"
        yield from _drawn(below, f"{before}{'   ' if last else '│  '}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _times(number: int) -> str:
    return "" if not number else "once" if number == 1 else f"{number} times"


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
