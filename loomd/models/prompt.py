"""Turns a request into what a small model can follow: one schema for the step, and worked examples of that very step.

A model of half a billion parameters does not follow instructions, it continues a pattern. So each step has one form -
call a tool or answer; answer and name the passage; fill in a schema - and the conversation begins with turns that show
the form on the request's own tools. Examples and tools come first and never change within a task, so the model's prompt
cache holds. Pure; called by the `local` provider.
"""

import json
import re
from collections.abc import Sequence
from typing import cast

import msgspec

from loomd.messages import JsonObject, Message, Passage, Request, ToolSchema, render_passages
from loomd.models.answer import printable
from loomd.models.cite import source_of
from loomd.models.schema import capped, sample_arguments

Turn = dict[str, str]
"""One turn of an OpenAI-style conversation: `role` and `content`."""

_MARK = re.compile(r"\s*\[(\d+)\]")


class Limits(msgspec.Struct, frozen=True):
    """How long constrained output may become.

    Attributes:
        answer: characters of an answer.
        text: characters of any other string, unless the schema says its own.
        items: members of a list, unless the schema says its own.
    """

    answer: int = 600
    text: int = 300
    items: int = 8


class Prompt(msgspec.Struct, frozen=True):
    """What to send.

    Attributes:
        turns: the conversation.
        schema: what the output must satisfy, or None for free text.
        stepwise: whether the output is a step (`tool` or `answer`) rather than the caller's own schema.
        passages: what may be cited.
        question: the last thing the user said.
    """

    turns: list[Turn]
    schema: JsonObject | None
    stepwise: bool = False
    passages: tuple[Passage, ...] = ()
    question: str = ""

    def finish(self, step: JsonObject) -> str:
        """Return an answer step as text, with the mark of the passage it rests on."""
        answer = step.get("answer")
        if not isinstance(answer, str):
            return json.dumps(answer, ensure_ascii=False)
        text = printable(answer)
        if not self.passages or _MARK.search(text):
            return text
        sources = step.get("sources")
        chosen = sources[0] if isinstance(sources, list) and sources else None
        return f"{text} [{source_of(text, self.question, self.passages, chosen)}]"


def build(request: Request, limits: Limits) -> Prompt:
    """Return the prompt for a request."""
    passages = _passages(request.messages)
    if request.output_schema is not None and not request.tools:
        return Prompt(
            _conversation(request, "", _given(request), stepwise=False),
            capped(request.output_schema, limits.text, limits.items),
        )
    if not request.tools and not passages:
        return Prompt(_conversation(request, "", _given(request), stepwise=False), None)
    cited = passages if request.output_schema is None else ()
    rules = _rules(request.tools, bool(cited))
    turns = _conversation(request, rules, _examples(request.tools, bool(cited)), stepwise=True)
    question = next((message.text for message in reversed(request.messages) if message.role == "user"), "")
    numbers = [passage.number for passage in cited]
    return Prompt(turns, _step_schema(request, numbers, limits), True, cited, question)


def added(request: Request) -> int:
    """Return the characters of rules and worked examples that a prompt has beside what the request brings."""
    passages = _passages(request.messages) if request.output_schema is None else ()
    if not request.tools and not passages:
        return 0
    cited = bool(passages)
    examples = sum(len(turn["content"]) for turn in _examples(request.tools, cited))
    return len(_rules(request.tools, cited)) + examples


def _given(request: Request) -> list[Turn]:
    """Return the worked examples that come with the request; a step has examples of its own."""
    return [{"role": message.role, "content": message.text} for message in request.examples]


def _passages(messages: Sequence[Message]) -> tuple[Passage, ...]:
    """Return the passages of the last turn that offers any: the numbers of earlier turns are no longer valid."""
    return next((message.passages for message in reversed(messages) if message.passages), ())


def _rules(tools: Sequence[ToolSchema], cites: bool) -> str:
    lines: list[str] = []
    if tools:
        lines += ['Reply with one JSON object: {"tool": name, "args": {...}} or {"answer": text}. Tools:']
        lines += [f"- {tool.name}({', '.join(_parameters(tool))}): {_first_line(tool)}" for tool in tools]
    if cites:
        lines += ["Answer from the numbered passages in one full sentence, then name the passage."]
    return "\n".join(lines)


def _parameters(tool: ToolSchema) -> list[str]:
    properties = tool.parameters.get("properties")
    return list(cast("dict[str, object]", properties)) if isinstance(properties, dict) else []


def _first_line(tool: ToolSchema) -> str:
    return tool.description.strip().split("\n", 1)[0]


def _examples(tools: Sequence[ToolSchema], cites: bool) -> list[Turn]:
    """Return the worked examples: each tool form, the answer after a result, a plain answer, a cited answer."""
    turns: list[Turn] = []
    if tools:
        first, second = tools[0], tools[1 % len(tools)]
        turns += [*_tool_example(first, 0), _user(f"Result of {first.name}: done")]
        turns += [_step({"answer": f"I used {first.name}, and the result is: done."})]
        turns += [*_tool_example(second, 1), _user(f"Result of {second.name}: 42")]
        turns += [_step({"answer": "The result is 42."}), _user("Thank you!"), _step({"answer": "You are welcome."})]
    if cites:
        for question, answer, number in _CITED:
            turns += [
                _user(_with_passages(_EXAMPLE_PASSAGES, question)),
                _step({"answer": answer, "sources": [number]}),
            ]
    return turns


_EXAMPLE_PASSAGES = (
    Passage(1, "The red fox is a mammal. It eats mice, birds and fruit, and lives about four years.", "fox.md"),
    Passage(
        2, "The Danube is 2,850 km long and flows into the Black Sea. It passes through ten countries.", "danube.md"
    ),
)
_CITED = (
    ("Where does the Danube end?", "The Danube flows into the Black Sea.", 2),
    ("What does a fox eat?", "The red fox eats mice, birds and fruit.", 1),
)


def _tool_example(tool: ToolSchema, turn: int) -> list[Turn]:
    arguments = sample_arguments(tool.parameters, turn)
    given = ", ".join(f"{name}: {_plain(value)}" for name, value in arguments.items())
    asked = " ".join(filter(None, [_first_line(tool) or tool.name, given]))
    return [_user(asked), _step({"tool": tool.name, "args": arguments})]


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _user(text: str) -> Turn:
    return {"role": "user", "content": text}


def _step(step: JsonObject) -> Turn:
    return {"role": "assistant", "content": json.dumps(step, ensure_ascii=False)}


def _with_passages(passages: Sequence[Passage], text: str) -> str:
    """Return the passages, each on one line, and the question after them: what stands last is followed best."""
    blocks = [f"[{item.number}] {item.title or item.source}\n{' '.join(item.text.split())}" for item in passages]
    return "\n\n".join([*blocks, f"Question: {text}"])


def _conversation(request: Request, rules: str, examples: Sequence[Turn] = (), *, stepwise: bool) -> list[Turn]:
    """Return system turn, worked examples, and the conversation in the form of the examples."""
    system = [message.text for message in request.messages if message.role == "system"]
    text = "\n\n".join(filter(None, [*system, rules]))
    turns: list[Turn] = [{"role": "system", "content": text}] if text else []
    turns += examples
    names = {call.id: call.name for message in request.messages for call in message.tool_calls}
    offered = _passages(request.messages)
    for message in request.messages:
        if message.role == "user":
            shown = message.passages is offered and bool(offered)
            turns.append(_user(_asked(message, stepwise and request.output_schema is None) if shown else message.text))
        elif message.role == "tool":
            turns.append(_user(f"Result of {names.get(message.call_id, 'the tool')}: {message.text}"))
        elif message.role == "assistant":
            turns += _said(message, stepwise)
    return turns


def _asked(message: Message, cites: bool) -> str:
    if cites:
        return _with_passages(message.passages, message.text)
    return f"{render_passages(message.passages)}\n\n{message.text}"


def _said(message: Message, stepwise: bool) -> list[Turn]:
    """Return what the model said earlier, in the form that it is to use now."""
    calls = [_step({"tool": call.name, "args": call.arguments}) for call in message.tool_calls]
    if calls or not message.text:
        return calls
    if not stepwise:
        return [{"role": "assistant", "content": message.text}]
    return [_step({"answer": _MARK.sub("", message.text)})]


def _step_schema(request: Request, numbers: Sequence[int], limits: Limits) -> JsonObject:
    """Return the schema of one step: a call of one of the tools, or an answer."""
    answer: JsonObject = {"type": "string", "minLength": 1, "maxLength": limits.answer}
    if request.output_schema is not None:
        answer = capped(request.output_schema, limits.text, limits.items)
    fields: JsonObject = {"answer": answer}
    if numbers:
        fields["sources"] = {"type": "array", "items": {"enum": list(numbers)}, "minItems": 1, "maxItems": 1}
    steps = [
        _object({"tool": {"const": tool.name}, "args": capped(tool.parameters, limits.text, limits.items)})
        for tool in request.tools
    ]
    return {"anyOf": [*steps, _object(fields)]} if steps else _object(fields)


def _object(fields: JsonObject) -> JsonObject:
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
