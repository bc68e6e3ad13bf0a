"""SCALE: alone or together? The policy decides whether to split, a model plans how, and the plan is checked.

A model that answers nonsense is asked once more with what was wrong; then the task is done alone, and a
`fallback.used` event says so.
"""

import json
from contextlib import aclosing
from functools import partial

import msgspec

from loomd.agents.base import ChatModel
from loomd.amoeba.policies.base import ScalePolicy
from loomd.amoeba.task import Scaled, Sensed, Subtask, Task
from loomd.amoeba.world import Run, World
from loomd.errors import BadReply
from loomd.events.event import AgentSplit, Fallback
from loomd.messages import JsonObject, Message, Reply, Request

_SYSTEM = (
    "You split a request into parts that different workers can do. Each part is one complete, self-contained "
    'instruction. "needs" lists the numbers of earlier parts whose results a part must see; leave it empty when '
    "it needs none."
)
_EXAMPLES = (
    Message("user", "Find out how tall the Eiffel Tower is and who built it, then write a rhyme about both."),
    Message(
        "assistant",
        json.dumps(
            {
                "parts": [
                    {"goal": "How tall is the Eiffel Tower?", "needs": []},
                    {"goal": "Who built the Eiffel Tower?", "needs": []},
                    {"goal": "Write a rhyme about the height and the builder of the Eiffel Tower.", "needs": [1, 2]},
                ]
            }
        ),
    ),
)
_ATTEMPTS = 2


class _Part(msgspec.Struct, forbid_unknown_fields=True):
    goal: str
    needs: list[int] = []


class _Plan(msgspec.Struct, forbid_unknown_fields=True):
    parts: list[_Part]


async def scale(task: Task, sensed: Sensed, world: World, policy: ScalePolicy, run: Run, winner: str) -> Scaled:
    """Return the subtasks in an order in which each follows what it needs, or none."""
    wanted, why = policy.split(sensed, task)
    if not wanted:
        return Scaled((), why)
    subtasks, wrong = await _plan(task, world.planner(winner), policy.max_children, run)
    if subtasks is None:
        run.scope.emit(Fallback("scale", wrong, "done alone"), winner)
        return Scaled((), f"{why}, but no usable plan came ({wrong}): done alone")
    scaled = Scaled(subtasks, f"{why}: {len(subtasks)} parts")
    goals = tuple(part.goal for part in subtasks)
    run.scope.emit(AgentSplit(tuple(child_id(task, n) for n in range(len(goals))), goals), winner)
    return scaled


def child_id(task: Task, ordinal: int) -> str:
    """Return the id of a task's child, counted from 0."""
    return f"{task.id}.{ordinal + 1}"


async def _plan(task: Task, model: ChatModel, most: int, run: Run) -> tuple[tuple[Subtask, ...] | None, str]:
    """Ask a model for a plan and check it; return the plan, or None and what was wrong with the last answer."""
    messages = [Message("system", _SYSTEM), Message("user", task.goal)]
    wrong = ""
    for attempt in range(_ATTEMPTS):
        request = Request(
            tuple(messages), output_schema=plan_schema(most), temperature=0.0, max_tokens=600, examples=_EXAMPLES
        )
        reply = await run.step(f"scale/model/{attempt}", "plan", partial(ask, model, request), Reply)
        try:
            return read_plan(reply.text, most), ""
        except ValueError as error:
            wrong = str(error)
            messages += [Message("assistant", reply.text), Message("user", f"That plan cannot be used: {wrong}.")]
    return None, wrong


async def ask(model: ChatModel, request: Request) -> Reply:
    """Return a model's whole reply.

    Raises:
        BadReply: the stream ended without one.
    """
    async with aclosing(model.stream(request)) as chunks:
        async for chunk in chunks:
            if isinstance(chunk, Reply):
                return chunk
    raise BadReply(f"Provider {model.name} ended its stream without a reply")


def plan_schema(most: int) -> JsonObject:
    """Return the JSON Schema of a plan of at most `most` parts."""
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
        "properties": {"parts": {"type": "array", "items": part, "minItems": 2, "maxItems": most}},
        "required": ["parts"],
        "additionalProperties": False,
    }


def read_plan(text: str, most: int) -> tuple[Subtask, ...]:
    """Return the subtasks of a plan; needs are ordinals from 0 and point backwards only, so that there is no cycle.

    Raises:
        ValueError: the text is no plan, or a plan that cannot be carried out; the message says why.
    """
    try:
        plan = msgspec.json.decode(text, type=_Plan)
    except msgspec.MsgspecError as error:
        raise ValueError(f"it is not a plan ({error})") from error
    if not 2 <= len(plan.parts) <= most:
        raise ValueError(f"it has {len(plan.parts)} parts, expected 2 to {most}")
    goals = [part.goal.strip() for part in plan.parts]
    if "" in goals or len(set(goals)) < len(goals):
        raise ValueError("two parts are the same, or one is empty")
    for number, part in enumerate(plan.parts, start=1):
        late = [need for need in part.needs if not 1 <= need < number]
        if late:
            raise ValueError(f"part {number} needs part {late[0]}, which does not come before it")
    return tuple(
        Subtask(goal, tuple(dict.fromkeys(need - 1 for need in part.needs)))
        for goal, part in zip(goals, plan.parts, strict=True)
    )


def explain(scaled: Scaled) -> str:
    """Return the phase's output in one line."""
    return scaled.why
