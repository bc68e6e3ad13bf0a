"""ReAct: thoughts, actions and observations as plain text, for models without tool calls of their own.

The model writes `Thought`, `Action` and `Action Input`; the result of the call comes back as `Observation`; `Final
Answer` ends the work. After Yao et al., "ReAct: Synergizing Reasoning and Acting in Language Models" (2022). What a
model wrote is read generously: bold labels, code fences, calls in brackets, observations that it made up. A request
without tools is an ordinary one.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from loomd.agents.strategies.base import Strategy, Unreadable
from loomd.messages import UNREADABLE, JsonObject, Message, Reply, Request, ToolCall, ToolSchema

_PROTOCOL = """\
You can use these tools:
{tools}

Write either

Thought: what you need to find out
Action: the name of one tool, one of {names}
Action Input: its arguments, one JSON object

and stop there: the result comes back to you as "Observation:". Or, once you know the answer,

Thought: why you know it
Final Answer: {answer}"""
_CUE = 'If that answers the question, write "Final Answer:" and the answer. Otherwise write the next "Action:".'
_LAST_CUE = 'Write "Final Answer:" and the answer.'
_ANSWER = "the answer"
_STRUCTURED = "the answer, nothing but JSON that fits this JSON Schema: {schema}"
_EXPECTED = (
    'Your reply could not be read: {wrong}. Write "Action:" with the name of a tool and "Action Input:" with one JSON '
    'object, or "Final Answer:" with the answer.'
)

_LABEL = re.compile(
    r"(?:[>#]+[ \t]*)?(?:\*\*|__|`|[-*] )?(thought|action input|action|observation|final answer)"
    r"(?:\*\*|__|`)?[ \t]*:[ \t]*(?:\*\*|__|`)?[ \t]*(.*)",
    re.IGNORECASE,
)
"""A line that begins a section, with what stands in it; `**Action:** search` is one, too."""
_CALL = re.compile(r"([\w.-]+)\s*[\[(](.*)[\])]", re.DOTALL)
"""`search[words]` and `search(words)`, as some models write a call."""
_FENCE = "```"
_QUOTES = "\"'`*"


class React(Strategy):
    """Describes tools in the prompt and reads calls from the model's text, one call in each reply."""

    type: Literal["react"] = "react"

    streams: ClassVar[bool] = False

    def phrase(self, request: Request) -> Request:
        """Return a request whose conversation is plain text; with tools it explains the form to keep to."""
        messages = _merged(_worded(message) for message in request.messages)
        last = request.messages[-1] if request.messages else None
        if last is not None and last.role == "tool":
            messages[-1] = _with(messages[-1], _CUE)
        elif not request.tools and request.output_schema is None and any(one.tool_calls for one in request.messages):
            messages[-1] = _with(messages[-1], _LAST_CUE)
        if not request.tools:
            return msgspec.structs.replace(request, messages=tuple(messages))
        rules = _rules(request.tools, request.output_schema)
        if messages and messages[0].role == "system":
            messages[0] = _with(messages[0], rules)
        else:
            messages.insert(0, Message("system", rules))
        return msgspec.structs.replace(request, messages=tuple(messages), tools=(), output_schema=None)

    def read(self, reply: Reply, request: Request, number: int) -> Reply:
        """Return a reply with one tool call, or with the answer as its text.

        Raises:
            Unreadable: it has neither.
        """
        if reply.tool_calls or reply.stop == "refusal":
            return reply
        sections = _sections(reply.text)
        thought = "\n".join(text for label, text in sections if label == "thought").strip()
        for at, (label, text) in enumerate(sections):
            if label == "final answer":
                answer = text.strip() if request.output_schema is None else _unfenced(text)
                return msgspec.structs.replace(reply, text=answer)
            if label == "action" and request.tools:
                given = next((value for name, value in sections[at + 1 :] if name == "action input"), "")
                call = _call(text, given, request.tools, f"call-{number}")
                return msgspec.structs.replace(reply, text=thought, tool_calls=(call,), stop="tool_calls")
        if not request.tools:
            return reply if "action" not in dict(sections) else msgspec.structs.replace(reply, text=thought)
        wrong = "it was cut off" if reply.stop == "length" else "it has neither an action nor an answer"
        raise Unreadable(_EXPECTED.format(wrong=wrong), reply.text)


def _rules(tools: Sequence[ToolSchema], schema: JsonObject | None) -> str:
    """Return what the form is, and which tools there are."""
    told = "\n".join(f"- {tool.name}: {tool.description} Arguments: {_json(tool.parameters)}" for tool in tools)
    answer = _ANSWER if schema is None else _STRUCTURED.format(schema=_json(schema))
    return _PROTOCOL.format(tools=told, names=", ".join(tool.name for tool in tools), answer=answer)


def _worded(message: Message) -> Message:
    """Return a turn in which calls and results are text."""
    if message.role == "tool":
        return Message("user", f"Observation: {message.text}")
    if not message.tool_calls:
        return message
    thought = [f"Thought: {message.text}"] if message.text else []
    calls = [f"Action: {call.name}\nAction Input: {_json(call.arguments)}" for call in message.tool_calls]
    return Message("assistant", "\n".join([*thought, *calls]))


def _with(message: Message, more: str) -> Message:
    """Return a turn that says something more."""
    return msgspec.structs.replace(message, text=f"{message.text}\n\n{more}")


def _merged(messages: Iterable[Message]) -> list[Message]:
    """Return turns in which nobody speaks twice in a row, because some models refuse that."""
    merged: list[Message] = []
    for message in messages:
        if merged and merged[-1].role == message.role:
            last = merged.pop()
            passages = (*last.passages, *message.passages)
            merged.append(Message(message.role, f"{last.text}\n\n{message.text}", passages=passages))
        else:
            merged.append(message)
    return merged


def _sections(text: str) -> list[tuple[str, str]]:
    """Return label and text of each section, up to an observation that the model made up; an answer is the last."""
    sections: list[tuple[str, list[str]]] = [("thought", [])]
    for line in text.splitlines():
        found = _LABEL.fullmatch(line.strip())
        if found is None or sections[-1][0] == "final answer":
            sections[-1][1].append(line)
        elif (label := found[1].lower()) == "observation":
            break
        else:
            sections.append((label, [found[2]]))
    return [(label, "\n".join(lines)) for label, lines in sections]


def _call(action: str, given: str, tools: Sequence[ToolSchema], call_id: str) -> ToolCall:
    """Return the call that an action and its input name."""
    named = _unfenced(action)
    whole = _object(named)
    if whole is not None:  # the call as one object, as other protocols have it
        name = str(whole.get("action") or whole.get("tool") or whole.get("name") or "")
        inside = next((whole[key] for key in ("action_input", "arguments", "parameters", "input") if key in whole), {})
        return ToolCall(call_id, name, _arguments(inside if isinstance(inside, str) else _json(inside), name, tools))
    name = named.partition("\n")[0].strip().strip(_QUOTES)
    bracketed = _CALL.fullmatch(named.strip(_QUOTES))
    if bracketed is not None and not given.strip():
        name, given = bracketed[1], bracketed[2]
    return ToolCall(call_id, name, _arguments(given, name, tools))


def _arguments(text: str, name: str, tools: Sequence[ToolSchema]) -> JsonObject:
    """Return the arguments in a text; plain words are those of a tool that takes a single one."""
    text = _unfenced(text)
    parameters = next((tool.parameters for tool in tools if tool.name == name), {})
    fields: Any = parameters.get("properties") or {}
    found = _object(text if len(fields) == 1 else text[max(0, text.find("{")) :])
    if found is not None:
        return found
    if not text.strip(_QUOTES).strip() or (not fields and text.lower() in {"none", "null"}):
        return {}
    if len(fields) != 1:
        return {UNREADABLE: text}
    (field,) = fields
    try:
        return {field: json.loads(text)}
    except (ValueError, RecursionError):
        return {field: text.strip(_QUOTES)}


def _object(text: str) -> JsonObject | None:
    """Return the JSON object that a text begins with, if it does, whatever follows it."""
    if not text.startswith("{"):
        return None
    try:
        value = json.JSONDecoder(strict=False).raw_decode(text)[0]
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _unfenced(text: str) -> str:
    """Return a text without the code fence around it."""
    text = text.strip()
    if not text.startswith(_FENCE):
        return text
    inside = text.partition("\n")[2] or text.removeprefix(_FENCE)
    return inside.partition(_FENCE)[0].strip()


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
