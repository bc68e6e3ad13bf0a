"""Facts about what there is room for: in a prompt, in a window, in a budget."""

from collections.abc import Mapping

import msgspec

from loomd.events.fact import Fact


class MemoryCompacted(Fact, tag="memory.compacted", frozen=True):
    """Old turns left the window."""

    dropped: int
    kept: int


class BudgetWarning(Fact, tag="budget.warning", frozen=True):
    """Most of a budget is used.

    Attributes:
        budget: whose: `run` for the limits of one piece of work, `Agent/NAME` or `namespace NAME` for a day's.
        measure: what is counted: `tokens`, `cost`, `calls`, `toolCalls` or `time`.
        limit: most of it.
        used: how much of it is used.
    """

    budget: str
    measure: str
    limit: float
    used: float


class BudgetExceeded(Fact, tag="budget.exceeded", frozen=True):
    """A limit was reached; the task wraps up. `budget` as above; `opens` is when a day's opens again, in seconds."""

    stop_reason: str
    limit: float
    used: float
    budget: str = "run"
    opens: float = 0.0


class Entered(msgspec.Struct, frozen=True, omit_defaults=True):
    """What of a source entered a prompt: its share of the room in tokens, and what it offered and filled of it."""

    source: str
    share: int
    offered: int
    tokens: int


class LeftOut(msgspec.Struct, frozen=True, omit_defaults=True):
    """What of a source did not enter a prompt, or was cut to `kept` tokens of its `tokens`, and why."""

    source: str
    item: str
    tokens: int
    kept: int = 0
    why: str = ""


class ContextAssembled(Fact, tag="context.assembled", frozen=True):
    """A prompt was put together.

    Attributes:
        window: tokens that a model may be sent.
        tokens: tokens of what enters, by estimate.
        characters: characters that a token is taken for.
        sources: what entered, the fixed parts first.
        cut: what did not, or not whole.
        relevance: how relevant each source was taken to be, from 0 to 1, where there were several.
        price: USD of an input token and of an output token.
        added: characters that the model adds of its own to every request.
    """

    window: int
    tokens: int
    characters: float
    sources: tuple[Entered, ...] = ()
    cut: tuple[LeftOut, ...] = ()
    relevance: Mapping[str, float] = {}  # msgspec copies it
    price: tuple[float, float] = (0.0, 0.0)
    added: int = 0
