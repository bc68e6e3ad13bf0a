"""Llm: an auction is held, and a model chooses among its best bids; its winner when no usable answer comes."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Annotated, Literal, Self

import msgspec
from pydantic import Field

from loomd.amoeba.crowd import names_of, those_at
from loomd.amoeba.forging import NoWinner
from loomd.amoeba.policies.auction import Auction
from loomd.amoeba.policies.base import MatchPolicy
from loomd.amoeba.question import Question
from loomd.amoeba.task import Bid, Matched, Sensed
from loomd.amoeba.world import Standing
from loomd.manifest.kind import RefTo
from loomd.manifest.quantity import Tokens
from loomd.messages import JsonObject

if TYPE_CHECKING:
    from loomd.amoeba.asking import Asking

_SYSTEM = (
    "You choose who works on a request; you do not answer it. Each candidate has a name, a description, and a bid: how "
    "well it did such requests, how idle it is and what it costs, in one number. Choose one by name."
)


class _Choice(msgspec.Struct, forbid_unknown_fields=True):
    agent: str


class LlmMatch(MatchPolicy):
    """Lets a model choose among the best bids."""

    type: Literal["llm"] = "llm"
    provider: Annotated[str, RefTo("Provider")] | None = Field(default=None, examples=["local"])
    """Provider of the model that is asked; the cluster's planner, or else the first member's model, when unset."""
    max_tokens: Tokens = 60
    """Longest answer, in tokens."""
    attempts: int = Field(default=2, ge=1, le=5)
    """How often the model is asked before the auction counts."""
    auction: Auction = Field(default_factory=Auction)
    """How bids come about; the model chooses among those that it records, and its winner takes the task when no usable
    answer comes. A single bid, or one that it declines, is not put to a model."""

    @property
    def otherwise(self) -> NoWinner:
        """Return what becomes of a task that nobody takes."""
        return self.auction.otherwise

    def refused(self, sensed: Sensed, agents: Sequence[Standing]) -> Mapping[str, str]:
        """Return whom the auction leaves out, and why."""
        return self.auction.refused(sensed, agents)

    @property
    def bare(self) -> MatchPolicy:
        """Return the auction, which knows whether anybody takes a task."""
        return self.auction

    def settling(self) -> Self:
        """Return the policy as it is when the best bid takes a task that nobody takes."""
        return self.model_copy(update={"auction": self.auction.settling()})

    async def choose(self, sensed: Sensed, agents: Sequence[Standing], draw: Random, asking: "Asking") -> Matched:
        """Return the auction with the winner that the model chose."""
        matched = await self.auction.choose(sensed, agents, draw, asking)
        if not matched.winner or len(matched.bids) < 2:
            return matched
        names = [bid.agent for bid in matched.bids]
        places = [at for at, name in enumerate(names_of(agents)) if name in names]
        texts = {agent.agent: agent.description for agent in those_at(agents, places)}
        answer = await asking.ask(
            Question(
                system=_SYSTEM,
                content=partial(_content, matched.bids, texts),
                schema=_schema(names),
                read=partial(_read, names),
                fallback=f"{matched.winner} takes it, who won the auction",
                provider=self.provider or "",
                max_tokens=self.max_tokens,
                attempts=self.attempts,
            )
        )
        if answer.value is None:
            return msgspec.structs.replace(matched, why=f"{matched.why}; no usable choice came: {answer.why}")
        why = f"chosen by a model among {len(names)} bids; the auction's winner is {matched.winner}"
        return msgspec.structs.replace(matched, winner=answer.value, why=why)


def _content(bids: Sequence[Bid], texts: dict[str, str], goal: str) -> str:
    lines = [f"- {bid.agent} (bid {bid.total:.2f}): {texts.get(bid.agent, '')}" for bid in bids]
    return "\n".join(["Candidates:", *lines, "The request, as JSON text:", json.dumps(goal, ensure_ascii=False)])


def _schema(names: list[str]) -> JsonObject:
    return {
        "type": "object",
        "properties": {"agent": {"type": "string", "enum": names}},
        "required": ["agent"],
        "additionalProperties": False,
    }


def _read(names: list[str], text: str) -> str:
    """Return who was chosen.

    Raises:
        ValueError: nobody who bid.
    """
    try:
        agent = msgspec.json.decode(text, type=_Choice).agent
    except msgspec.MsgspecError as error:
        raise ValueError(f"it is not what was asked for ({error})") from error
    if agent not in names:
        raise ValueError(f'there is no candidate "{agent}"')
    return agent
