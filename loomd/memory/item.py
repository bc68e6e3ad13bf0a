"""What is remembered: an item with where it came from, and whose it is. Data and names only; called by all of memory.

An item has a home: the one list of names that everybody who may see it shares. Homes are JSON lists, so that no name,
whatever is in it, can make one home look like another.
"""

import hashlib
import json
from typing import Literal

import msgspec

Level = Literal["working", "long"]
"""A fact of one conversation that only that one sees, or what is kept for all tasks of its scope."""
LEVELS: tuple[Level, ...] = ("working", "long")

ScopeOf = Literal["agent", "session", "user", "tenant", "shared"]
"""Who may recall an item: the agent that heard it (for the same tenant and user), all agents within a session, all
that work for a user, all that work for a tenant, or all."""

What = Literal["answer", "decision", "fact", "summary"]
"""What an item is: a goal with its answer, a sentence that settles something, one that says something, or what stands
for several of them."""


class Whose(msgspec.Struct, frozen=True):
    """Who remembers or recalls: an agent, in a task that somebody gave it.

    Attributes:
        agent: its name.
        tenant: on whose behalf it works; empty for nobody's.
        user: which user of the tenant.
        session: the conversation that the task is a turn of.
        task: id of the task; a part's id begins with that of the whole.
    """

    agent: str
    tenant: str = ""
    user: str = ""
    session: str = ""
    task: str = ""

    def home(self, scope: ScopeOf) -> str:
        """Return where items of a scope live that this one may see."""
        names = {
            "agent": (self.agent, self.tenant, self.user),
            "session": (self.tenant, self.user, *self._conversation),
            "user": (self.tenant, self.user),
            "tenant": (self.tenant,),
            "shared": (),
        }
        return json.dumps([scope, *names[scope]])

    @property
    def talk(self) -> str:
        """Return where the working facts of its conversation live."""
        return json.dumps(["working", self.agent, self.tenant, self.user, *self._conversation])

    @property
    def homes(self) -> tuple[str, ...]:
        """Return all homes whose items it may see."""
        scopes: tuple[ScopeOf, ...] = ("agent", "session", "user", "tenant", "shared")
        return (self.talk, *(self.home(one) for one in scopes))

    @property
    def _conversation(self) -> tuple[str, str]:
        """Return the session, or else the task as a whole: its parts are of one conversation."""
        return ("session", self.session) if self.session else ("task", self.task.partition(".")[0])


class Turn(msgspec.Struct, frozen=True):
    """What is to be remembered: what was asked and answered.

    Attributes:
        key: unique within the task's agent; the same key is remembered once.
        goal: what was asked.
        answer: what was answered.
        step: key of the journal's checkpoint that the answer rests on, within the task.
        began: when the work began, in wall-clock seconds; the same when it is run again.
        boost: factor of its importance; above 1 for what parts of a task brought back.
        absorbed: whether another agent brought it.
    """

    key: str
    goal: str
    answer: str
    step: str = ""
    began: float = 0.0
    boost: float = 1.0
    absorbed: bool = False


class Draft(msgspec.Struct, frozen=True):
    """An item before it is kept: its key within its home, and what is in it."""

    key: str
    text: str
    what: What = "answer"
    importance: float = 0.5
    replaces: tuple[str, ...] = ()


class Telling(msgspec.Struct, frozen=True, omit_defaults=True):
    """By whom something was told, and where.

    Attributes:
        began: when the work began, in wall-clock seconds.
        agent, tenant, user, session, task, step, absorbed: as in `Item`.
    """

    began: float
    agent: str = ""
    tenant: str = ""
    user: str = ""
    session: str = ""
    task: str = ""
    step: str = ""
    absorbed: bool = False

    @property
    def place(self) -> str:
        """Return its place in the journal."""
        return f"{self.task}/{self.step}" if self.step else self.task


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that is remembered, and where it came from.

    Attributes:
        id: names it, among those of all memories.
        text: what it says.
        what: what sort of thing it is.
        level: which level it is on.
        scope: who may recall it once it is long-term.
        importance: from 0 to 1.
        tokens: its size, estimated.
        created: when the work began in which it was told first, in wall-clock seconds.
        told: the same of the last time.
        agent, tenant, user, session, task: who heard it first, and where.
        step: key of the journal's checkpoint in that task; with the task it is a place in the journal.
        absorbed: whether a part of the task, or an agent that was asked, brought it.
        replaces: places in the journal, `TASK/STEP`, of what it stands for.
        also: who else told the same, those that did so last.
        count: how many times it was told in all.
    """

    id: str
    text: str
    what: What
    level: Level
    scope: ScopeOf
    importance: float
    tokens: int
    created: float
    told: float
    agent: str = ""
    tenant: str = ""
    user: str = ""
    session: str = ""
    task: str = ""
    step: str = ""
    absorbed: bool = False
    replaces: tuple[str, ...] = ()
    also: tuple[Telling, ...] = ()
    count: int = 1

    @property
    def tellings(self) -> tuple[Telling, ...]:
        """Return by whom it was told: the first one, and those that did so last."""
        first = (self.created, self.agent, self.tenant, self.user, self.session, self.task, self.step, self.absorbed)
        return (Telling(*first), *self.also)

    @property
    def place(self) -> str:
        """Return its place in the journal."""
        return self.tellings[0].place

    @property
    def places(self) -> tuple[str, ...]:
        """Return the places in the journal of all its tellings."""
        return tuple(one.place for one in self.tellings)


class Which(msgspec.Struct, frozen=True):
    """Which items are meant: those that fit all that is said; nothing said means all.

    Attributes:
        ids: their ids.
        scope, level, agent, tenant, user, session, task: None for any.
    """

    ids: tuple[str, ...] = ()
    scope: ScopeOf | None = None
    level: Level | None = None
    agent: str | None = None
    tenant: str | None = None
    user: str | None = None
    session: str | None = None
    task: str | None = None

    @property
    def everything(self) -> bool:
        """Return whether nothing narrows it."""
        return self == Which()


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a memory is.

    Attributes:
        items: how many items there are, by level.
        scopes: how many, by scope.
        tokens: their size, estimated.
        bytes: size of its file.
        vectors: how many of them are found by meaning now.
        oldest, newest: when they were told, in wall-clock seconds.
        error: what went wrong last since it was opened.
        error_at: when.
    """

    items: dict[str, int]
    scopes: dict[str, int]
    tokens: int
    bytes: int
    vectors: int = 0
    oldest: float = 0.0
    newest: float = 0.0
    error: str = ""
    error_at: float = 0.0


def id_of(owner: str, home: str, key: str) -> str:
    """Return the id of an item; the same key in the same home of the same memory, `owner`, has the same one."""
    return "m" + hashlib.sha256(json.dumps([owner, home, key]).encode()).hexdigest()[:16]
