"""What a phase asks a model for: data, made by policies and asked by `asking`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from loomd.messages import JsonObject, Message

T = TypeVar("T")


@dataclass(frozen=True)
class Question(Generic[T]):
    """What a model is asked, and how its answer is read.

    Attributes:
        system: what the model is to do.
        content: returns the user message; gets the task's goal as the interceptors of whoever asks let it pass.
        schema: JSON Schema that the answer is held to.
        read: returns what an answer says. Raises `ValueError` with what is wrong, for the model to mend it.
        fallback: what is done when no usable answer comes, in a few words.
        provider: name of the Provider that is asked; empty for the model that plans.
        examples: exchanges that show what is wanted.
        max_tokens: longest answer, in tokens.
        attempts: how often the model is asked at most.
        noun: what the answer is called when the model is told that it cannot be used.
        name: what the step is called in the record; `model`, or `plan`, which replays know as models' answers.
        temperature: how freely the model answers; 0 for the likeliest answer.
        key: tells the questions of one phase apart; steps are `PHASE/KEY/ATTEMPT`.
    """

    system: str
    content: Callable[[str], str]
    schema: JsonObject
    read: Callable[[str], T]
    fallback: str
    provider: str = ""
    examples: tuple[Message, ...] = ()
    max_tokens: int = 600
    attempts: int = 2
    noun: str = "answer"
    name: str = "model"
    key: str = "model"
    temperature: float = 0.0
