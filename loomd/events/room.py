"""Facts about what there is room for: in a prompt, in a window, in a budget."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from loomd.events.fact import Fact


class MemoryCompacted(Fact, tag="memory.compacted", frozen=True):
    """Old turns left the window."""

    dropped: int
    kept: int


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a memory was told, and by whom: enough to keep it once more.

    Attributes:
        memory: its name; the namespace is the event's.
        scope: who may recall it.
        key: unique within the task's agent.
        goal: what was asked.
        answer: what was answered, or the lines of a summary.
        began: when the work began, in wall-clock seconds.
        step: key of the journal's checkpoint that it rests on.
        boost: factor of its importance.
        absorbed: whether another agent brought it.
        agent: who heard it, for which `tenant` and `user`, in which `session` and `task`.
    """

    memory: str
    scope: Literal["agent", "session", "user", "tenant", "shared"]
    key: str
    goal: str
    answer: str
    began: float
    step: str = ""
    boost: float = 1.0
    absorbed: bool = False
    agent: str = ""
    tenant: str = ""
    user: str = ""
    session: str = ""
    task: str = ""


class MemoryRemembered(Fact, tag="memory.remembered", frozen=True):
    """What was asked and answered is kept, on disk, in the memory of the event's agent.

    Attributes:
        items: the ids of what is kept.
        told: what was told; absent in records of earlier versions.
    """

    items: tuple[str, ...]
    told: Told | None = None


class Condensed(msgspec.Struct, frozen=True):
    """A line of a summary that is kept.

    Attributes:
        item: its id.
        facts: the ids of the working facts that it stands for.
    """

    item: str
    facts: tuple[str, ...]


class MemoryCondensed(Fact, tag="memory.condensed", frozen=True):
    """A summarizer put working facts of a conversation into fewer words.

    Attributes:
        replaced: how many of them its words stand for.
        kept: how many of them they do not say, and are kept as they are.
        places: where in the journal the replaced ones came from, as `TASK/KEY`.
        told: the words; absent in records of earlier versions.
        items: the ids of those that its words stand for.
        lines: which line stands for which of them; absent in records of earlier versions.
    """

    replaced: int
    kept: int
    places: tuple[str, ...]
    told: Told | None = None
    items: tuple[str, ...] = ()
    lines: tuple[Condensed, ...] = ()


class Filter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whose items are meant: those that fit all that is said; None for any."""

    scope: str | None = None
    level: str | None = None
    agent: str | None = None
    tenant: str | None = None
    user: str | None = None
    session: str | None = None
    task: str | None = None


class MemoryForgotten(Fact, tag="memory.forgotten", frozen=True):
    """Somebody wants items of a memory deleted, which happens once this is on disk; the namespace is the event's.

    Attributes:
        memory: its name.
        items: the ids of those that are there; what is in them is not told.
        names: each id under which the same may be told again.
        left: ids of items that stay, although they say the same as one of them, or fit but for their level.
        parted: ids of items that stay, because others told the same: that those who are meant told it, too, goes.
        places: where in the journal the facts came from that those of them stand for which are summaries.
        filter: whose items are meant, also such as left the memory before; absent when they are meant by their ids.
        at: the moment, in wall-clock seconds: work that began before does not tell any of it again.
    """

    memory: str
    items: tuple[str, ...]
    names: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    filter: Filter | None = None
    at: float = 0.0
    parted: tuple[str, ...] = ()


class MemoryRefilled(Fact, tag="memory.refilled", frozen=True):
    """A memory whose file was damaged or gone was filled in again from the journal; the namespace is the event's.

    Attributes:
        memory: its name.
        items: how many items it has from there.
        lacking: how many the journal names, but does not have the words of.
    """

    memory: str
    items: int
    lacking: int


MemoryFact = MemoryCompacted | MemoryRemembered | MemoryCondensed | MemoryForgotten | MemoryRefilled
"""What happens to what is remembered."""


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
        added: characters that the model adds of its own to every request, at most.
        citing: those of them that it adds for passages alone: none of these when no passage entered.
    """

    window: int
    tokens: int
    characters: float
    sources: tuple[Entered, ...] = ()
    cut: tuple[LeftOut, ...] = ()
    relevance: Mapping[str, float] = {}  # msgspec copies it
    price: tuple[float, float] = (0.0, 0.0)
    added: int = 0
    citing: int = 0
