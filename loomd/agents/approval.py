"""A person's agreement to a call: on what terms it is wanted, what is asked, and what was decided."""

import hashlib
from typing import Literal, Protocol

import msgspec

from loomd.messages import JsonObject

Verdict = Literal["approved", "denied", "expired"]


class Approval(Protocol):
    """On what terms a person must agree; the live form of a tool's `approval`."""

    @property
    def ttl(self) -> float:
        """Return the seconds after which a question that nobody answered counts as denied."""
        ...

    @property
    def on_denied(self) -> Literal["stop", "continue"]:
        """Return whether the work ends when it is denied, or the model is told and goes on."""
        ...


class Ask(msgspec.Struct, frozen=True):
    """What a person is asked.

    Attributes:
        tool: the tool that is to be called.
        arguments: with which arguments; the answer holds for exactly these.
        ttl: seconds until the question expires.
        question: `call`, or `repeat` when a call may have had its effect already.
    """

    tool: str
    arguments: JsonObject
    ttl: float
    question: Literal["call", "repeat"] = "call"

    @property
    def digest(self) -> str:
        """Return the SHA-256 of tool and arguments, in hexadecimal."""
        return hashlib.sha256(
            msgspec.json.encode((self.question, self.tool, self.arguments), order="deterministic")
        ).hexdigest()


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was decided: by whom, why, and at which wall-clock time; `expired` when nobody answered."""

    verdict: Verdict
    by: str = ""
    reason: str = ""
    at: float = 0.0

    def said(self) -> str:
        """Return it in words."""
        if self.verdict == "expired":
            return "nobody answered in time"
        who = f"{self.verdict} by {self.by}" if self.by else self.verdict
        return f"{who}: {self.reason}" if self.reason else who
