"""Llm: a model says what kind of task it is, in JSON held to a schema; the heuristic when no usable answer comes."""

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from pydantic import Field

from loomd.amoeba.policies.base import SensePolicy
from loomd.amoeba.policies.heuristic import Heuristic
from loomd.amoeba.question import Question
from loomd.amoeba.task import GENERAL, Sensed
from loomd.amoeba.world import Neighbour, Signals
from loomd.manifest.kind import RefTo
from loomd.manifest.quantity import Tokens
from loomd.messages import JsonObject

if TYPE_CHECKING:
    from loomd.amoeba.asking import Asking

_SYSTEM = (
    "You judge a request before somebody works on it; you do not answer it. complexity is a number from 0 (one "
    "look-up) to 1 (needs several people). domains are those of the list that it belongs to, none when it fits none. "
    "tools are those of the list that are needed for it."
)


class _Judged(msgspec.Struct, forbid_unknown_fields=True):
    complexity: float
    domains: list[str]
    tools: list[str] = []


class LlmSense(SensePolicy):
    """Asks a model what kind of task it is."""

    type: Literal["llm"] = "llm"
    provider: Annotated[str, RefTo("Provider")] | None = Field(default=None, examples=["local"])
    """Provider of the model that is asked; the cluster's planner, or else the first member's model, when unset."""
    max_tokens: Tokens = 200
    """Longest answer, in tokens."""
    attempts: int = Field(default=2, ge=1, le=5)
    """How often the model is asked before the heuristic counts."""
    heuristic: Heuristic = Field(default_factory=Heuristic)
    """What counts when no usable answer comes, and what the expected tokens are told by."""

    def placed(self, likeness: Mapping[str, float]) -> dict[str, float]:
        """Return the domains that a task fits by likeness alone, as the heuristic says."""
        return self.heuristic.placed(likeness)

    async def sense(self, signals: Signals, asking: "Asking") -> Sensed:
        """Return what the model says, or else what the heuristic says."""
        return await self.judged(signals, await self.heuristic.sense(signals, asking), asking)

    async def judged(self, signals: Signals, guess: Sensed, asking: "Asking") -> Sensed:
        """Return what the model says, or else a guess."""
        names, tools = sorted(signals.likeness), sorted(signals.tools)
        answer = await asking.ask(
            Question(
                system=_SYSTEM,
                content=partial(_content, names, tools, signals.neighbours if signals.counted else ()),
                schema=_schema(names, tools),
                read=partial(_read, names, tools),
                fallback="judged by the heuristic",
                provider=self.provider or "",
                max_tokens=self.max_tokens,
                attempts=self.attempts,
            )
        )
        if answer.value is None:
            return msgspec.structs.replace(guess, evidence=(*guess.evidence, f"no usable answer came: {answer.why}"))
        said = answer.value
        share = 1 / max(1, len(said.domains))
        return Sensed(
            complexity=said.complexity,
            domains=dict.fromkeys(said.domains, share) or {GENERAL: 1.0},
            tools=tuple(said.tools),
            tokens=self.heuristic.expected(said.complexity, self.heuristic.known(signals)),
            method="llm",
            evidence=(*guess.evidence, f"the heuristic said {guess.complexity:.2f}, the model {said.complexity:.2f}"),
        )


def _content(names: list[str], tools: list[str], before: Sequence[Neighbour], goal: str) -> str:
    lists = f"Domains: {', '.join(names) or 'none'}\nTools: {', '.join(tools) or 'none'}"
    if before:
        lists += "\nWhat earlier requests that are like it turned out to be, as JSON lines:"
        lists += "".join(f"\n{_before(one)}" for one in before)
    return f"{lists}\nThe request, as JSON text:\n{json.dumps(goal, ensure_ascii=False)}"


def _before(one: Neighbour) -> str:
    told = {"request": one.goal, "complexity": round(one.observed, 2), "domains": sorted(one.domains)}
    return json.dumps(told, ensure_ascii=False)


def _schema(names: list[str], tools: list[str]) -> JsonObject:
    def some(of: list[str]) -> JsonObject:
        items: JsonObject = {"type": "string", "enum": of} if of else {"type": "string"}
        return {"type": "array", "items": items, "maxItems": min(3, len(of))}

    return {
        "type": "object",
        "properties": {
            "complexity": {"type": "number", "minimum": 0, "maximum": 1},
            "domains": some(names),
            "tools": some(tools),
        },
        "required": ["complexity", "domains", "tools"],
        "additionalProperties": False,
    }


def _read(names: list[str], tools: list[str], text: str) -> _Judged:
    """Return what an answer says.

    Raises:
        ValueError: it cannot be used; the text says why.
    """
    try:
        said = msgspec.json.decode(text, type=_Judged)
    except msgspec.MsgspecError as error:
        raise ValueError(f"it is not what was asked for ({error})") from error
    if not (math.isfinite(said.complexity) and 0 <= said.complexity <= 1):
        raise ValueError(f"complexity is {said.complexity}, expected 0 to 1")
    for what, found, known in (("domain", said.domains, names), ("tool", said.tools, tools)):
        if strange := [one for one in found if one not in known]:
            raise ValueError(f'there is no {what} "{strange[0]}"')
    return _Judged(said.complexity, list(dict.fromkeys(said.domains)), list(dict.fromkeys(said.tools)))
