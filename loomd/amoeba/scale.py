"""SCALE: alone or together? The policy decides whether to split, a model plans how, and the plan is checked.

When no usable plan comes the task is done alone.
"""

import itertools
import json
from collections.abc import Sequence
from functools import partial

import msgspec

from loomd.agents.context import brief
from loomd.amoeba import deciding
from loomd.amoeba.account import billed
from loomd.amoeba.asking import Asking
from loomd.amoeba.deciding import PolicyFailed, decided
from loomd.amoeba.policies.base import ScalePolicy
from loomd.amoeba.question import Question
from loomd.amoeba.task import Scaled, Sensed, Subtask, Task
from loomd.encoded import read_json
from loomd.events.bus import Scope
from loomd.events.cluster import AgentSplit
from loomd.messages import JsonObject, Message

_SYSTEM = (
    "You split a request into parts that different workers can do. Each part is one complete, self-contained "
    'instruction. "needs" lists the numbers of earlier parts whose results a part must see; leave it empty when '
    "it needs none."
)


def _example(goal: str, *parts: tuple[str, list[int]]) -> tuple[Message, Message]:
    plan = {"parts": [{"goal": part, "needs": needs} for part, needs in parts]}
    return Message("user", goal), Message("assistant", json.dumps(plan))


_EXAMPLES = (
    *_example(
        "Find out how tall the Eiffel Tower is and who built it, then write a rhyme about both.",
        ("How tall is the Eiffel Tower?", []),
        ("Who built the Eiffel Tower?", []),
        ("Write a rhyme about the height and the builder of the Eiffel Tower.", [1, 2]),
    ),
    *_example(
        "What is the capital of Peru, who wrote Faust, and how deep is Lake Baikal?",
        ("What is the capital of Peru?", []),
        ("Who wrote Faust?", []),
        ("How deep is Lake Baikal?", []),
    ),
)
_FEWEST = 2
_ALONE = "done alone"
_WHOLE = (
    " Split only what several workers do better than one: when one worker should do all of it, answer with one single "
    "part that is the whole request."
)
_KEPT = _example("How tall is the Eiffel Tower?", ("How tall is the Eiffel Tower?", []))


class _Part(msgspec.Struct, forbid_unknown_fields=True):
    goal: str
    needs: list[int] = []


class _Plan(msgspec.Struct, forbid_unknown_fields=True):
    parts: list[_Part]


_PLAN = msgspec.json.Decoder(_Plan)


async def scale(task: Task, sensed: Sensed, policy: ScalePolicy, scope: Scope, winner: str, asking: Asking) -> Scaled:
    """Return the subtasks in an order in which each follows what it needs, or none.

    Args:
        task: the task, with what is left of its budget.
        sensed: what kind of task it is.
        policy: whether and how finely it is split.
        scope: the envelope of its events.
        winner: who does it.
        asking: asks the model that plans, on behalf of the winner.
    """
    if task.agent:
        return Scaled((), "the task names the agent that does it")
    try:
        most, why = decided("scale", policy, lambda: policy.parts(sensed, task), deciding.parts)
    except PolicyFailed as error:
        asking.fall_back(str(error), _ALONE)
        return Scaled((), f"{error}: {_ALONE}")
    if most < _FEWEST:
        return Scaled((), why)
    allowed = policy.max_descendants if task.descendants is None else min(policy.max_descendants, task.descendants)
    if allowed < _FEWEST:
        return Scaled((), f"{why}, but the tree of tasks may have {counted(allowed)} more: done alone")
    plan = await asking.ask(
        Question(
            system=_SYSTEM if policy.fewest > 1 else _SYSTEM + _WHOLE,
            content=partial(brief, findings=task.findings),
            schema=plan_schema(most, policy.fewest),
            read=partial(read_plan, most=most, whole=task.goal, fewest=policy.fewest),
            fallback=_ALONE,
            examples=_EXAMPLES if policy.fewest > 1 else (*_EXAMPLES, *_KEPT),
            max_tokens=policy.plan_tokens,
            attempts=policy.plan_attempts,
            noun="plan",
            name="plan",
        )
    )
    if plan.value is None:
        return billed(Scaled((), f"{why}, but no usable plan came ({plan.why}): done alone"), asking.spent)
    planned = plan.value
    if len(planned) < _FEWEST:
        return billed(Scaled((), f"{why}: one agent does it alone"), asking.spent)
    subtasks = cut(planned, allowed)
    note = ""
    if len(subtasks) < len(planned):
        note = f" (cut from {len(planned)}: the tree of tasks may have {counted(allowed)} more)"
    goals = tuple(part.goal for part in subtasks)
    scope.emit(AgentSplit(tuple(child_id(task, n) for n in range(len(goals))), goals), winner)
    rest = (allowed - len(goals)) // len(goals)
    return billed(Scaled(subtasks, f"{why}: {len(goals)} parts{note}", policy.retries, rest), asking.spent)


def cut(parts: tuple[Subtask, ...], most: int) -> tuple[Subtask, ...]:
    """Return a plan with at most so many parts: the surplus ones become one with the last that is left.

    That one needs what any of them needs of the others; between themselves they are in one hand.
    """
    if len(parts) <= most:
        return parts
    joined = parts[most - 1 :]
    needs = sorted({need for part in joined for need in part.needs if need < most - 1})
    return (*parts[: most - 1], Subtask("\n".join(part.goal for part in joined), tuple(needs)))


def counted(parts: int) -> str:
    """Return a number of parts in words."""
    return f"{parts} part{'' if parts == 1 else 's'}" if parts else "no parts"


def child_id(task: Task, ordinal: int) -> str:
    """Return the id of a task's child, counted from 0."""
    return f"{task.id}.{ordinal + 1}"


def plan_schema(most: int, fewest: int = _FEWEST) -> JsonObject:
    """Return the JSON Schema of a plan of so many parts."""
    part: JsonObject = {
        "type": "object",
        "properties": {
            "goal": {"type": "string", "minLength": 3, "maxLength": 300},
            "needs": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": most}, "maxItems": most},
        },
        "required": ["goal", "needs"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"parts": {"type": "array", "items": part, "minItems": fewest, "maxItems": most}},
        "required": ["parts"],
        "additionalProperties": False,
    }


def read_plan(text: str, most: int, whole: str = "", fewest: int = _FEWEST) -> tuple[Subtask, ...]:
    """Return the subtasks of a plan, each after those that it needs; else they stay in the order of the plan.

    Needs become ordinals from 0 that point backwards only.

    Args:
        text: the model's answer.
        most: most parts.
        whole: the request that is split; no part of several may repeat it.
        fewest: fewest parts.

    Raises:
        ValueError: the text is no plan, or a plan that cannot be carried out; the message says why.
    """
    try:
        plan = read_json(text, _PLAN)
    except ValueError as error:
        raise ValueError(f"it is not a plan ({error})") from error
    if not fewest <= len(plan.parts) <= most:
        raise ValueError(f"it has {len(plan.parts)} parts, expected {fewest} to {most}")
    goals = [part.goal.strip() for part in plan.parts]
    if "" in goals or len({goal.lower() for goal in goals}) < len(goals):
        raise ValueError("two parts are the same, or one is empty")
    if len(goals) > 1 and whole.strip().lower() in {goal.lower() for goal in goals}:
        raise ValueError("a part repeats the whole request")
    order = _in_order([part.needs for part in plan.parts])
    place = {at: new for new, at in enumerate(order)}
    return tuple(Subtask(goals[at], tuple(sorted({place[n - 1] for n in plan.parts[at].needs}))) for at in order)


def _in_order(needs: Sequence[Sequence[int]]) -> list[int]:
    """Return the ordinals of parts from 0, each after those that it needs; of those that may come next the first one.

    Args:
        needs: what each part needs, numbered from 1.

    Raises:
        ValueError: a part needs one that there is not, or a circle of parts need each other.
    """
    for at, wanted in enumerate(needs, 1):
        if absent := [need for need in wanted if not 1 <= need <= len(needs)]:
            raise ValueError(f"part {at} needs part {absent[0]}, and there are {len(needs)} parts")
    order, left = list[int](), list(range(len(needs)))
    while left:
        ready = next((at for at in left if all(need - 1 in order for need in needs[at])), None)
        if ready is None:
            raise ValueError(f"parts need each other's results in a circle: {_circle(needs, left)}")
        order.append(ready)
        left.remove(ready)
    return order


def _circle(needs: Sequence[Sequence[int]], left: Sequence[int]) -> str:
    """Return a circle among parts of which each needs another one of them, such as `2 needs 3, 3 needs 2`."""
    path = [left[0] + 1]
    while path.count(path[-1]) < 2:
        path.append(next(need for need in needs[path[-1] - 1] if need - 1 in left))
    path = path[path.index(path[-1]) :]
    return ", ".join(f"{one} needs {other}" for one, other in itertools.pairwise(path))


def explain(scaled: Scaled) -> str:
    """Return the phase's output in one line."""
    return scaled.why
