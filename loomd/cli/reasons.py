"""Why a task went as it did, in sentences: one paragraph for each decision. Called by `explain`.

Everything is read from what was recorded when it was decided; nothing is worked out anew.
"""

import textwrap
import time
from collections.abc import Callable, Iterator

from loomd.api.client import Json
from loomd.cli.course import check_of, next_attempt, skill_used, skills_offered
from loomd.cli.task import NOT_KEPT, left_out, short, took
from loomd.manifest.wording import without_secrets

_WIDTH = 100
_ENDS = {
    "completed": "the model gave its answer before any limit was reached",
    "max_steps": "the agent's last allowed model call was spent on wrapping up",
    "budget_tokens": "the tokens were used up, and what there was of an answer was taken",
    "budget_cost": "the money was used up, and what there was of an answer was taken",
    "budget_calls": "the calls of the day were used up, and what there was of an answer was taken",
    "budget_time": "the time was over, and what there was of an answer was taken",
    "tool_loop": "the same tool was called with the same arguments too often, and the agent had to wrap up",
    "max_tool_calls": "the task may make no more tool calls, and the agent had to wrap up",
    "tool_errors": "too many tool calls in a row failed, and the agent had to wrap up",
    "bad_format": "the model did not keep to the form of the agent's strategy, and had to wrap up",
    "output_invalid": "the answer did not fit the agent's output schema, also when it was asked again",
    "refused": "the model or an interceptor refused",
    "approval_denied": "a person denied a tool call, and the tool says to stop then",
    "approval_expired": "nobody approved a tool call in time, and the tool says to stop then",
    "uncertain": "a tool call was interrupted and may have had its effect; it was not repeated",
    "cancelled": "somebody cancelled it",
    "error": "something failed",
}
"""What the stop reasons mean."""


_UNDECIDED = {
    "Cancelled": "and the task was cancelled before anything was decided",
    "Failed": "and the task failed before anything was decided",
}
"""Why a phase has no decision, by how the task ended."""


def tell(item: Json, course: Json) -> Iterator[str]:
    """Yield the lines that explain a task.

    Args:
        item: the task as the API shows it.
        course: what `loomd.cli.course.trace` made of its events.
    """
    spec, name = item["spec"], item["metadata"]["name"]
    seed = int(spec.get("seed", 0))
    pinned = f" It is pinned to revision {spec['revision']}." if spec.get("revision") else ""
    yield _filled(f'Task/{name}, "{short(without_secrets(spec["goal"]))}", has the seed {seed}.{pinned}')
    for phase in course["phases"]:
        if phase["phase"] in _TELLERS:
            yield ""
            yield from _phase(phase, seed, course, item["status"]["phase"])
    yield from _end(item, course)
    for child in course["children"]:
        yield ""
        failed = f", {short(child['error'])}" if child.get("error") else ""
        text = f'The part "{short(child.get("goal", ""))}" ended {child["phase"]}{failed}: `loomd explain'
        yield _filled(f"{text} task/{child['task']}` says why.")


def _phase(phase: Json, seed: int, course: Json, ended: str) -> Iterator[str]:
    again = "".join(f" It was interrupted, and went on at {_clock(at)}." for at in phase.get("resumed", ()))
    if "decision" not in phase:
        rest = _UNDECIDED.get(ended, "not decided yet")
        yield _filled(f"{phase['phase'].upper()}: begun at {_clock(phase['began'])}, {rest}.{again}")
        yield from _notes(phase)
        return
    first, *more = _TELLERS[phase["phase"]](phase["decision"], seed, course)
    yield _filled(f"{phase['phase'].upper()}: {first}{again}")
    yield from more
    yield from _notes(phase)


def _sense(decision: Json, seed: int, course: Json) -> Iterator[str]:
    del seed, course
    domains = ", ".join(f"{name} {weight:.0%}" for name, weight in decision["domains"].items())
    text = f"the policy {decision.get('method', 'heuristic')} gave it the complexity {decision['complexity']:.2f}"
    text += f" of 1, the domains {domains}, and expected about {decision.get('tokens', 0)} tokens."
    if decision.get("tools"):
        text += f" It seemed to need {', '.join(decision['tools'])}."
    yield text
    yield from _listed("evidence: ", decision.get("evidence", ()))


def _match(decision: Json, seed: int, course: Json) -> Iterator[str]:
    del course
    winner, bids, weights = decision["winner"], decision.get("bids", []), decision.get("weights", {})
    text = f"{winner} took it" if winner else "nobody took it"
    text += f", {decision.get('why', 'for no recorded reason')}."
    if weights:
        formula = " + ".join(f"{share:.2f} x {name}" for name, share in weights.items())
        text += f" A bid is {formula}; the lowest that may win is {decision.get('reserve', 0.0):.2f}."
    if any("drawn" in bid for bid in bids):
        text += f" The draws for newcomers come from the seed {seed}, so that they can be repeated."
    yield text
    yield from _listed("", [_bid(bid, weights) for bid in bids])


def _bid(bid: Json, weights: Json) -> str:
    parts = [
        f"{weights[name]:.2f} x {value:.3f} {name}{_because(name, value, bid)}"
        if name in weights
        else f"{value:.3f} {name}"
        for name, value in bid["factors"].items()
    ]
    return f"{bid['agent']} bid {bid['total']:.3f} = {' + '.join(parts)}"


def _because(name: str, value: float, bid: Json) -> str:
    """Return what a factor rests on."""
    seen = f"{bid.get('seen', 0.0):g} tasks seen"
    if name == "capability" and bid.get("scores"):
        return f" (believed {', '.join(f'{one} {score:.2f}' for one, score in bid['scores'].items())}; {seen})"
    if name == "availability" and value > 0:
        return f" ({round(1 / value - 1)} in hand)"
    if name == "exploration" and "drawn" in bid:
        return f" (drawn {bid['drawn']:.3f}; {seen})"
    return ""


def _scale(decision: Json, seed: int, course: Json) -> Iterator[str]:
    del seed, course
    parts = decision.get("subtasks", [])
    why = decision.get("why", "")
    yield (
        f"it was split into {len(parts)} parts, because {why}." if parts else f"one agent did it alone, because {why}."
    )
    needs = [" and ".join(str(need + 1) for need in part.get("needs", ())) for part in parts]
    yield from _listed(
        "part ",
        [
            f'{at}: "{short(part["goal"])}"{f", which sees the results of {need}" if need else ""}'
            for at, (part, need) in enumerate(zip(parts, needs, strict=True), start=1)
        ],
    )


def _execute(decision: Json, seed: int, course: Json) -> Iterator[str]:
    del seed
    outcome = decision.get("outcome", {})
    reason = outcome.get("stop_reason", "")
    text = f"it ended as {reason}: {_ENDS.get(reason, 'no meaning is known')}."
    if decision.get("error"):
        text += f" There is no answer: {decision['error']}."
    if decision.get("missing"):
        text += f" Without a result are: {'; '.join(decision['missing'])}."
    yield f"{text} All in all it took {took(course['took'])}."


def _evaluate(decision: Json, seed: int, course: Json) -> Iterator[str]:
    del seed, course
    weights = decision.get("weights", {})
    parts = [
        f"{weights[name]:.2f} x {decision[name]:.3f} {name}" if name in weights else f"{name} {decision[name]:.3f}"
        for name in ("quality", "efficiency", "reliability")
    ]
    text = f"the reward is {decision['reward']:.3f} = {' + '.join(parts)}."
    if not decision["quality"]:
        text = f"the reward is {decision['reward']:.3f}, because without quality nothing else counts."
    yield text
    yield from _listed("checked: ", decision.get("evidence", ()))


def _adapt(decision: Json, seed: int, course: Json) -> Iterator[str]:
    del seed
    moves = decision.get("decisions", [])
    if moves:
        yield "this was learned."
    elif any(_outcome(phase).get("temporary") for phase in course["phases"]):
        yield "nothing was learned, because a service that was away says nothing about an agent."
    else:
        yield "nothing was learned."
    yield from _listed(
        "",
        [
            f"{one['agent']} in {one['domain']}: from {one['before']:.3f} to {one['after']:.3f}, because of "
            f"{one['reason']}; {one['count']} tasks say so now"
            for one in moves
        ],
    )


def _outcome(phase: Json) -> Json:
    found: Json = phase.get("decision", {}).get("outcome", {})
    return found


_TELLERS: dict[str, Callable[[Json, int, Json], Iterator[str]]] = {
    "sense": _sense,
    "match": _match,
    "scale": _scale,
    "execute": _execute,
    "evaluate": _evaluate,
    "adapt": _adapt,
}


def _notes(phase: Json) -> Iterator[str]:
    """Yield what happened in a phase that decided something."""
    found: list[str] = []
    for step in phase["steps"]:
        match step["kind"]:
            case "budget.exceeded":
                whose = f" of {step['budget']}" if step.get("budget", "run") != "run" else ""
                found.append(f"limit {step['stop_reason']}{whose}: {step['used']:.10g} used of {step['limit']:.10g}")
            case "context.assembled":
                found += [f"left out of the prompt: {left_out(one)}" for one in step.get("cut", ())]
            case "call.checked":
                found.append(f"{check_of(step)}, because {short(step['reason'])}")
            case "fallback.used":
                found.append(f"{step['fallback']}, because {short(step['reason'])}")
            case "skill.activated":
                found.append(f"it took up the {skill_used(step)}")
            case "skill.offered":
                found.append(f"the model could take up these skills: {skills_offered(step)}")
            case "model.retried":
                found.append(f"{next_attempt(step)}, because {short(step['reason'])}")
            case "approval.resolved":
                by, why = f" by {step['by']}" if step["by"] else "", f": {step['reason']}" if step["reason"] else ""
                found.append(f"approval {step['approval']} was {step['verdict']}{by}{why}")
            case _:
                pass
    yield from _listed("", found)


def _end(item: Json, course: Json) -> Iterator[str]:
    """Yield what came from outside, and what became of it."""
    status = item["status"]
    for move in course["moves"]:
        before, after = move["before"], move["after"]
        yield _filled(f"\nAt {_clock(move['at'])} it went over from revision {before} to {after}, to go on there.")
    for one in course["feedback"]:
        by, why = f" by {one['by']}" if one["by"] else "", f": {one['note']}" if one["note"] else ""
        yield _filled(f"\nAt {_clock(one['at'])} the answer was given {one['score']:g}{by}{why}. That moves no score.")
    if status.get("reason"):
        yield _filled(f"\nIt does not run: {status['reason']}.")
    error = without_secrets(status.get("error", ""))
    if error and not any(_outcome(phase) for phase in course["phases"]):
        yield _filled(f"\nIt ended {status['phase']}: {error}.")
    if item["spec"].get("durability") == "none":
        yield _filled(f"\n{NOT_KEPT[0].upper()}{NOT_KEPT[1:]}.")
    elif not course["phases"]:
        yield "\nIts events are not there: it has not begun, or retention removed them."


def _listed(head: str, texts: "list[str] | tuple[str, ...]") -> Iterator[str]:
    for text in texts:
        yield textwrap.fill(
            f"{head}{without_secrets(text)}",
            _WIDTH,
            initial_indent="  - ",
            subsequent_indent="    ",
            break_on_hyphens=False,
        )


def _filled(text: str) -> str:
    lead = "\n" if text.startswith("\n") else ""
    return lead + textwrap.fill(without_secrets(text.strip()), _WIDTH, break_on_hyphens=False)


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
