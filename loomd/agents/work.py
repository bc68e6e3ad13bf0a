"""What an agent is asked to do, and what it brings back."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec

from loomd.agents.permissions import Permissions
from loomd.messages import Image, Message, Passage, Usage

StopReason = Literal[
    "completed",
    "max_steps",
    "max_tokens",
    "budget_tokens",
    "budget_cost",
    "budget_calls",
    "budget_time",
    "max_tool_calls",
    "tool_loop",
    "tool_errors",
    "bad_format",
    "output_invalid",
    "approval_denied",
    "approval_expired",
    "uncertain",
    "refused",
    "cancelled",
    "error",
]
"""Why work ended. A limit never throws away what was done: the output is then partial."""


class Citation(msgspec.Struct, frozen=True, omit_defaults=True):
    """A passage that an answer names. `number` is the mark `[number]` in the text, `source` a path with lines."""

    number: int
    source: str
    title: str = ""
    knowledge: str = ""
    text: str = ""


class Finding(Protocol):
    """An earlier result that the work builds on, or a file that came with it."""

    @property
    def goal(self) -> str:
        """Return what was asked."""
        ...

    @property
    def output(self) -> str:
        """Return what came out."""
        ...

    @property
    def citations(self) -> tuple[Citation, ...]:
        """Return the passages that the output names; their numbers are unique across all findings."""
        ...

    @property
    def file(self) -> bool:
        """Return whether it is a file: its name, and its text."""
        ...


class Cut(msgspec.Struct, frozen=True):
    """By how much less a piece of work may use than was agreed when it began."""

    tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    calls: int = 0
    tool_calls: int = 0


UNCUT = Cut()
"""Nothing less."""


def _uncut() -> Cut:
    return UNCUT


class Work(msgspec.Struct, frozen=True):
    """One piece of work for an agent.

    Attributes:
        goal: what is wanted.
        key: prefix of the keys of its steps, unique within the task (`execute`).
        findings: results that it builds on.
        tokens: most tokens, when less than the agent's own limit.
        cost: most USD, when less than the agent's own limit.
        calls: most model calls, when less than the agent's own limit.
        tool_calls: most tool calls; None for as many as it likes.
        deadline: wall-clock seconds since 1970-01-01 UTC at which it ends, or None for the agent's own limit only.
        remember: key under which the answer is remembered, or empty for not at all.
        history: earlier turns of the conversation, oldest first: what was asked, and what was answered.
        owner: whose work it is, a tenant and one of its users; what is remembered for one is kept from others.
        seeds: what whoever gave it remembers that fits the goal.
        session: the conversation that it is a turn of, or empty for none.
        permissions: those of the agents that split the task, which bind it beside the agent's own.
        cut: returns by how much less it may use since; asked before each model call.
        images: what the agent is shown beside the goal.
        within: where it stands in a larger piece of work, in words; empty for work that is whole.
    """

    goal: str
    key: str = "execute"
    findings: Sequence[Finding] = ()
    tokens: int | None = None
    cost: float | None = None
    calls: int | None = None
    tool_calls: int | None = None
    deadline: float | None = None
    remember: str = ""
    history: Sequence[Message] = ()
    owner: tuple[str, str] = ("", "")
    session: str = ""
    seeds: Sequence[str] = ()
    permissions: Sequence[Permissions] = ()
    cut: Callable[[], Cut] = _uncut
    images: tuple[Image, ...] = ()
    within: str = ""


class Ended(NamedTuple):
    """The end of work at a limit.

    Attributes:
        reason: which limit it was.
        note: what people are to know of it.
        foreign: whether the limit was not the agent's own, so that its end says nothing about the agent.
        temporary: whether the same work may succeed later.
    """

    reason: StopReason
    note: str = ""
    foreign: bool = False
    temporary: bool = False


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer and what it took.

    Attributes:
        output: the answer's text, with marks `[n]` for its citations.
        stop_reason: why the work ended.
        usage: tokens of all model calls.
        cost: USD of all model calls and tool calls.
        seconds: wall-clock time.
        waited: seconds of that in which it waited for people; they count against no limit.
        steps: model calls made.
        tools: names of the tools called, in order.
        tool_errors: calls that failed.
        acted: whether a tool was called that does more than read; who begins the work anew might do it twice.
        citations: the passages that the answer names.
        offered: how many passages the model was shown.
        unknown_citations: marks in the answer that name no passage.
        note: what else is to be said of its end: whose limit it was, what to raise, when a budget opens again.
        error: what went wrong, when the work ended as `error`, or why what there is at a limit is no answer.
        temporary: whether the same work may succeed later; then the error says nothing about the agent.
        foreign: whether what ended it is none of the agent's: a budget of whoever gave the work, a person, a call that
            was interrupted, a request that interceptors let not pass to a model; then it says nothing about the agent.
        reasoning: what the model thought on the way, as far as its service shows it.
        grounding: share (0 to 1) of the answer's content words that stand in the cited passages; 0 without citations.
    """

    output: str
    stop_reason: StopReason
    usage: Usage = Usage()
    cost: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0
    steps: int = 0
    tools: tuple[str, ...] = ()
    tool_errors: int = 0
    acted: bool = False
    citations: tuple[Citation, ...] = ()
    offered: int = 0
    unknown_citations: tuple[int, ...] = ()
    grounding: float = 0.0
    note: str = ""
    error: str = ""
    temporary: bool = False
    foreign: bool = False
    reasoning: str = ""

    @property
    def mute(self) -> bool:
        """Return whether it says nothing about the agent."""
        return self.temporary or self.foreign

    @property
    def failure(self) -> str:
        """Return why this is no answer, or an empty string when it is one, whole or partial."""
        if self.error:
            return self.error
        if self.stop_reason == "refused":
            return f"the model refused: {self.output}" if self.output else "the model refused"
        if self.stop_reason == "output_invalid":
            return "the answer does not fit the agent's output schema"
        if self.output.strip():
            return ""
        why = "the model wrote nothing" if self.stop_reason == "completed" else f"the work ended as {self.end}"
        return f"there is no answer: {why}"

    @property
    def end(self) -> str:
        """Return as what the work ended, with what else is to be said of that."""
        return f"{self.stop_reason}: {self.note}" if self.note else self.stop_reason


def cite(passage: Passage) -> Citation:
    """Return the citation for a passage."""
    return Citation(passage.number, passage.source, passage.title, passage.knowledge, passage.text)
