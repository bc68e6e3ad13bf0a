"""EXECUTE: as what it ended. Called by `tell`."""

from collections.abc import Iterator

from loomd.api.client import Json
from loomd.cli.reasons.layout import listed
from loomd.cli.task import short, took

_ENDS = {
    "completed": "the model gave its answer before any limit was reached",
    "max_steps": "the agent's last allowed model call was spent on wrapping up",
    "max_tokens": "the model's answer was cut at the longest that it may have, and what there was of it was taken",
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


def tell(decision: Json, seed: int, course: Json) -> Iterator[str]:
    """Yield as what it ended: a sentence, then what it rests on."""
    del seed
    outcome = decision.get("outcome", {})
    reason = outcome.get("stop_reason", "")
    text = f"it ended as {reason}: {_ENDS.get(reason, 'no meaning is known')}."
    if decision.get("error"):
        text += f" There is no answer: {decision['error']}."
    if decision.get("missing"):
        text += f" Without a result are: {'; '.join(decision['missing'])}."
    yield f"{text} All in all it took {took(course['took'])}."
    yield from listed("", [_again(one) for one in decision.get("again", ())])


def _again(one: Json) -> str:
    """Return which part was given to another agent, and why."""
    failed = f'{one["agent"]} failed at "{short(one["goal"])}", {short(one["why"])}'
    return f"{failed}: task/{one['task']} was begun in the place of task/{one['failed']}"
