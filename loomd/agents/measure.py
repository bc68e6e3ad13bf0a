"""How many tokens a text has, by estimate, and what a model may be sent and costs, where it says so. Pure.

A token is taken for so many characters as the services of a model have reported on average.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from loomd.agents.base import ChatModel
from loomd.encoded import Encoded, to_json
from loomd.messages import Image, JsonObject, Message, Request, ToolSchema, Usage

CHARACTERS = 4.0
"""Characters of a token as long as nothing else was learned."""
_LEAST, _MOST = 1.0, 8.0
"""Bounds of what is learned: no tokenizer makes more of a character, few make less of a text."""
_TURN = 4
"""Tokens that the form of a turn takes beside its text."""

_IMAGE = 6_000
"""Characters that take about as many tokens as a picture."""

_tools: Encoded[ToolSchema] = Encoded(to_json)


class Size(NamedTuple):
    """How large a request is: its characters, and the tokens that they are taken for."""

    characters: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Measure:
    """Counts tokens; `characters` is how many a token is taken for."""

    characters: float = CHARACTERS

    def text(self, text: str) -> int:
        """Return the tokens of a text."""
        return math.ceil(len(text) / self.characters)

    def message(self, message: Message) -> int:
        """Return the tokens of a turn."""
        return _TURN + math.ceil(length(message) / self.characters)

    def tools(self, tools: tuple[ToolSchema, ...]) -> int:
        """Return the tokens of what a model is told of tools."""
        return math.ceil(sum(map(len, _tools.all(tools))) / self.characters) if tools else 0

    def tokens(self, characters: int, turns: int) -> int:
        """Return the tokens of so many characters in so many turns."""
        return _TURN * turns + math.ceil(characters / self.characters)


class Conversation:
    """Counts the characters of a conversation that grows, each turn once; some may be counted already."""

    __slots__ = ("_characters", "_turns")

    def __init__(self, turns: int = 0, characters: int = 0) -> None:
        self._turns = turns
        self._characters = characters

    def characters(self, messages: Sequence[Message]) -> int:
        """Return the characters of all turns; those that were counted before are the first ones."""
        for message in messages[self._turns :]:
            self._characters += length(message)
        self._turns = len(messages)
        return self._characters


def sent(request: Request) -> int:
    """Return the characters of a request."""
    return around(request.tools, request.output_schema) + sum(map(length, request.turns))


def around(tools: tuple[ToolSchema, ...], output: JsonObject | None) -> int:
    """Return the characters of a request beside its turns: its tools, and the form of its answer."""
    schema = 0 if output is None else len(to_json(output))
    return schema + (sum(map(len, _tools.all(tools))) if tools else 0)


def length(message: Message) -> int:
    """Return the characters of a turn."""
    characters = len(message.text)
    if message.thoughts or message.images:
        characters += characters_of(message.images) + sum(len(one.text) for one in message.thoughts)
    if not (message.passages or message.tool_calls):
        return characters
    characters += sum(len(one.text) + len(one.title) + 2 * len(one.source) for one in message.passages)
    return characters + sum(len(call.name) + len(str(call.arguments)) for call in message.tool_calls)


def characters_of(images: Sequence[Image]) -> int:
    """Return the characters that take about as many tokens as some pictures."""
    return _IMAGE * len(images)


def bounded(characters: float) -> float:
    """Return a number of characters that a token may have."""
    return min(_MOST, max(_LEAST, characters))


def subject_of_model(model: ChatModel) -> str:
    """Return under which subject averages of a model are kept."""
    return f"model {model.name}"


def window_of(model: ChatModel) -> int | None:
    """Return the tokens that a model reads and writes at once, where it says so."""
    window: int | None = getattr(model, "window", None)
    return window


def counter_of(model: ChatModel) -> Callable[[str], Awaitable[int]] | None:
    """Return what counts the tokens of a text as a model does, where it can be asked."""
    count: Callable[[str], Awaitable[int]] | None = getattr(model, "count", None)
    return count


def added_to(model: ChatModel, request: Request) -> int:
    """Return the characters that a model adds to a request of its own, where it says so; none elsewhere."""
    added: Callable[[Request], int] | None = getattr(model, "added", None)
    return 0 if added is None else added(request)


def _nothing(sent: int, made: int) -> float:
    """Return what tokens cost of which no price is known."""
    del sent, made
    return 0.0


def price_of(model: ChatModel) -> Callable[[int, int], float]:
    """Return what tells the USD of input and output tokens of a model; nothing for one that has no prices."""
    cost: Callable[[Usage], float] | None = getattr(model, "cost", None)
    if cost is None:
        return _nothing
    return lambda input, output: cost(Usage(input, output))  # noqa: A006  # the names of what is counted
