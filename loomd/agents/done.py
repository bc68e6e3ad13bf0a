"""The tool `done`, by which a model ends its work when the agent wants that: `spec.done`.

It is never called: its argument is the answer. Pure; called by the loop.
"""

import json
from collections.abc import Sequence

from loomd.messages import JsonObject, ToolCall, ToolSchema

NAME = "done"
MISSING = f'Your answer counts once you call the tool "{NAME}" with it: call it now, or go on with the work.'
"""What a model is told that answers otherwise."""
BESIDE = f'not made: "{NAME}" was called in the same turn'
"""What a model is told of calls beside it."""
_FIELD = "answer"


def schema_of(output: JsonObject | None) -> ToolSchema:
    """Return what a model is told of the tool; its answer fits the agent's output schema when there is one."""
    answer = output or {"type": "string", "minLength": 1, "description": "The whole answer, in words."}
    parameters: JsonObject = {
        "type": "object",
        "properties": {_FIELD: answer},
        "required": [_FIELD],
        "additionalProperties": False,
    }
    return ToolSchema(NAME, "Ends the work: call it once, with the whole answer, when all is done.", parameters)


def find(calls: Sequence[ToolCall]) -> ToolCall | None:
    """Return the call of the tool, if there is one."""
    return next((call for call in calls if call.name == NAME), None)


def answer_of(call: ToolCall, output: JsonObject | None) -> str | None:
    """Return the answer that a call gives, as JSON when the agent has an output schema; None when it gives none."""
    answer = call.arguments.get(_FIELD)
    if output is not None:
        return json.dumps(answer, ensure_ascii=False) if _FIELD in call.arguments else None
    return answer if isinstance(answer, str) and answer.strip() else None
