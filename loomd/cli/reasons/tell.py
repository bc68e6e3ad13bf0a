"""Why a task went as it did, in sentences: one paragraph for each decision. Called by `explain`.

Everything is read from what was recorded when it was decided; nothing is worked out anew.
"""

from collections.abc import Callable, Iterator

from loomd.api.client import Json
from loomd.cli.course import check_of, next_attempt, skill_used, skills_offered
from loomd.cli.reasons import adapt, evaluate, execute, match, scale, sense
from loomd.cli.reasons.layout import clock, filled, listed, outcome_of
from loomd.cli.task import NOT_KEPT, decided, left_out, short
from loomd.manifest.wording import without_secrets

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
    yield filled(f'Task/{name}, "{short(without_secrets(spec["goal"]))}", has the seed {seed}.{pinned}')
    for phase in course["phases"]:
        if phase["phase"] in _TELLERS:
            yield ""
            yield from _phase(phase, seed, course, item["status"]["phase"])
    yield from _end(item, course)
    for child in course["children"]:
        yield ""
        yield filled(f'The part "{short(child.get("goal", ""))}" {_stands(child)}')


def _stands(child: Json) -> str:
    """Return the rest of a sentence that says how far a part is."""
    if child["phase"] == "Pending":
        return "has not begun."
    if child["phase"] == "Running":
        return f"goes on: `loomd explain task/{child['task']}` says how far it is."
    failed = f", {short(child['error'])}" if child.get("error") else ""
    return f"ended {child['phase']}{failed}: `loomd explain task/{child['task']}` says why."


def _phase(phase: Json, seed: int, course: Json, ended: str) -> Iterator[str]:
    again = "".join(f" It was interrupted, and went on at {clock(at)}." for at in phase.get("resumed", ()))
    if "decision" not in phase:
        rest = _UNDECIDED.get(ended, "not decided yet")
        yield filled(f"{phase['phase'].upper()}: begun at {clock(phase['began'])}, {rest}.{again}")
        yield from _notes(phase)
        return
    first, *more = _TELLERS[phase["phase"]](phase["decision"], seed, course)
    yield filled(f"{phase['phase'].upper()}: {first}{again}")
    yield from more
    yield from _notes(phase)


_TELLERS: dict[str, Callable[[Json, int, Json], Iterator[str]]] = {
    "sense": sense.tell,
    "match": match.tell,
    "scale": scale.tell,
    "execute": execute.tell,
    "evaluate": evaluate.tell,
    "adapt": adapt.tell,
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
            case "fallback.used" | "task.queued":
                found.append(_instead(step))
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
    yield from listed("", found)


def _instead(step: Json) -> str:
    """Return what was done in place of what should have been."""
    if step["kind"] == "task.queued":
        return f"queued at {clock(step['at'])}, until {clock(step['until'])} at the latest: {step['reason']}"
    return f"{step['fallback']}, because {step['reason']}"


def _meant(said: Json) -> str:
    """Return what came of a word of a person."""
    because = f", because {said['why']}" if said.get("why") else ""
    if said.get("after") is None or (because and not said.get("counts")):
        return f"That moves no score{because}."
    text = f"It takes the reward from {said['before']:.3f} to {said['after']:.3f}"
    if because:
        return f"{text}, and moves no score{because}."
    moves = "; ".join(map(_moved, said["scores"]))
    return f"{text}, and moves {moves}." if moves else f"{text}, and moves no score any further."


def _moved(score: Json) -> str:
    only = f" ({score['done']} only)" if score.get("done") else ""
    return f"{score['owner']} in {score['domain']} from {score['before']:.3f} to {score['after']:.3f}{only}"


def _instead_of(one: Json, course: Json) -> str:
    """Return what was done in place of what a person denied."""
    if one["verdict"] != "denied":
        return ""
    joined = one["what"].endswith(" is forged")
    return f" {course['agent']} had taken the task." if joined and course.get("agent") else " Nothing was changed."


def _end(item: Json, course: Json) -> Iterator[str]:
    """Yield what came from outside, and what became of it."""
    status = item["status"]
    if "retried" in status:
        spec = item["spec"]
        yield filled(
            f"\nIt failed as attempt {spec.get('attempt', 1)} of at most {spec['retries'] + 1}: "
            f"task/{status['retried']} was begun in its place, with what was left of its budget and its time."
        )
    for move in course["moves"]:
        before, after = move["before"], move["after"]
        yield filled(f"\nAt {clock(move['at'])} it went over from revision {before} to {after}, to go on there.")
    for one in course["feedback"]:
        by, why = f" by {one['by']}" if one["by"] else "", f": {one['note']}" if one["note"] else ""
        yield filled(f"\nAt {clock(one['at'])} the answer was given {one['score']:g}{by}{why}. {_meant(one)}")
    yield from (
        filled(f"\nAt {clock(one['at'])} {decided(one)}.{_instead_of(one, course)}") for one in course["decided"]
    )
    if status.get("reason"):
        yield filled(f"\nIt does not run: {status['reason']}.")
    error = without_secrets(status.get("error", ""))
    if error and not any(outcome_of(phase) for phase in course["phases"]):
        yield filled(f"\nIt ended {status['phase']}: {error}.")
    if item["spec"].get("durability") == "none":
        yield filled(f"\n{NOT_KEPT[0].upper()}{NOT_KEPT[1:]}.")
    elif not course["phases"]:
        yield "\nIts events are not there: it has not begun, or retention removed them."
