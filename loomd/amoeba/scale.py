"""SCALE: alone or together? The policy decides whether to split, a model plans how, and the plan is checked.

A model that answers nonsense is asked once more with what was wrong; then the task is done alone, and a
`fallback.used` event says so.
"""

import asyncio
import json
from dataclasses import dataclass
from functools import partial

import msgspec

from loomd.agents.ask import ask
from loomd.agents.budget import Exhausted, Spent
from loomd.agents.context import brief
from loomd.agents.interception import enter
from loomd.amoeba.account import account_of
from loomd.amoeba.policies.base import ScalePolicy
from loomd.amoeba.task import Scaled, Sensed, Subtask, Task
from loomd.amoeba.world import Run, World
from loomd.clock import Clock
from loomd.errors import Diverged, LoomdError, RecordFailed, Refused
from loomd.events.cluster import AgentSplit
from loomd.events.event import Fallback
from loomd.messages import JsonObject, Message, Reply, Request, Usage, gist

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


class _Part(msgspec.Struct, forbid_unknown_fields=True):
    goal: str
    needs: list[int] = []


class _Plan(msgspec.Struct, forbid_unknown_fields=True):
    parts: list[_Part]


async def scale(task: Task, sensed: Sensed, world: World, policy: ScalePolicy, run: Run, winner: str) -> Scaled:
    """Return the subtasks in an order in which each follows what it needs, or none."""
    if task.agent:
        return Scaled((), "the task names the agent that does it")
    most, why = policy.parts(sensed, task)
    if most < _FEWEST:
        return Scaled((), why)
    plan = await _plan(task, world, policy, run, winner, most)
    if not plan.subtasks:
        run.scope.emit(Fallback("scale", plan.note, "done alone"), winner)
        note = f"{why}, but no usable plan came ({plan.note}): done alone"
        return Scaled((), note, plan.usage, plan.cost, plan.calls)
    goals = tuple(part.goal for part in plan.subtasks)
    run.scope.emit(AgentSplit(tuple(child_id(task, n) for n in range(len(goals))), goals), winner)
    return Scaled(plan.subtasks, f"{why}: {len(goals)} parts{plan.note}", plan.usage, plan.cost, plan.calls)


def child_id(task: Task, ordinal: int) -> str:
    """Return the id of a task's child, counted from 0."""
    return f"{task.id}.{ordinal + 1}"


@dataclass(frozen=True)
class _Planned:
    """Subtasks, or none; `note` says what was left out or what was wrong with the last answer."""

    subtasks: tuple[Subtask, ...]
    note: str
    usage: Usage
    cost: float
    calls: int = 0


async def _plan(task: Task, world: World, policy: ScalePolicy, run: Run, winner: str, most: int) -> _Planned:
    """Ask a model for a plan and check it; ask again with what was wrong."""
    agent, account = world.agent(winner), account_of(task.budget, task, world, run.account)
    try:
        goal = await enter(agent, task.goal, run.scope, run, "scale")
    except Refused as error:
        return _Planned((), str(error), Usage(), 0.0)
    messages = [Message("system", _SYSTEM), Message("user", brief(goal, task.findings))]
    wrong, usage, cost = "", Usage(), 0.0
    for attempt in range(policy.plan_attempts):
        request = Request(
            tuple(messages),
            output_schema=plan_schema(most),
            temperature=0.0,
            max_tokens=policy.plan_tokens,
            examples=_EXAMPLES,
        )
        call = partial(ask, agent, request, run.scope, model=world.planner(winner), budget=account)
        try:
            async with asyncio.timeout(None) as timer:
                heed = partial(_heed, timer, task, world, agent.clock)
                heed()
                with agent.listening(heed):
                    reply = await run.step(f"scale/model/{attempt}", "plan", call, Reply, asked=gist(request))
        except TimeoutError:
            return _Planned((), "the time is over", usage, cost, attempt)
        except (RecordFailed, Diverged):
            raise
        except (LoomdError, Exhausted) as error:
            return _Planned((), str(error), usage, cost, attempt)
        finally:
            account.release()
        usage, cost = usage + reply.usage, cost + reply.cost
        account.close(Spent(usage, cost, 0, attempt + 1))
        if reply.refused:
            return _Planned((), reply.refused, usage, cost, attempt + 1)
        try:
            subtasks, late = read_plan(reply.text, most, task.goal)
        except ValueError as error:
            wrong = str(error)
            messages += [Message("assistant", reply.text), Message("user", f"That plan cannot be used: {wrong}.")]
        else:
            note = f" ({late} needs that do not point to an earlier part are left out)" if late else ""
            return _Planned(subtasks, note, usage, cost, attempt + 1)
    return _Planned((), wrong, usage, cost, policy.plan_attempts)


def _heed(timer: asyncio.Timeout, task: Task, world: World, clock: Clock) -> None:
    """Let a call end when the task's time is over, as it is limited now."""
    if not timer.expired():
        left = task.deadline - world.cut(task.grant).seconds - clock.now()
        timer.reschedule(asyncio.get_running_loop().time() + left)


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


def read_plan(text: str, most: int, whole: str = "") -> tuple[tuple[Subtask, ...], int]:
    """Return the subtasks of a plan, and how many of its needs were left out because nothing can fulfil them.

    Needs become ordinals from 0 that point backwards only, so that there is no cycle: a part cannot see its own result
    or that of a later part.

    Args:
        text: the model's answer.
        most: most parts.
        whole: the request that is split; no part may repeat it.

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
    if "" in goals or len({goal.lower() for goal in goals}) < len(goals):
        raise ValueError("two parts are the same, or one is empty")
    if whole.strip().lower() in {goal.lower() for goal in goals}:
        raise ValueError("a part repeats the whole request")
    needs = [tuple(dict.fromkeys(n - 1 for n in part.needs if 1 <= n < at)) for at, part in enumerate(plan.parts, 1)]
    late = sum(not 1 <= need < at for at, part in enumerate(plan.parts, 1) for need in part.needs)
    return tuple(Subtask(goal, edges) for goal, edges in zip(goals, needs, strict=True)), late


def explain(scaled: Scaled) -> str:
    """Return the phase's output in one line."""
    return scaled.why
