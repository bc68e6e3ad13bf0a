"""A live agent: what it is, and the live parts that it uses. Made by `kind`, run by `loop`.

Work goes on with the agent that it began with, except that what is taken away since holds at once: see `Latest`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

from loomd.accounts.account import Accounts
from loomd.accounts.averages import Averages
from loomd.accounts.load import Loads
from loomd.agents.approval import Approval
from loomd.agents.base import ChatModel, Interceptor, KnowledgeBase, Memory, Skills, Tool
from loomd.agents.budget import Limits, SkillBudget
from loomd.agents.permissions import Permissions, effective
from loomd.agents.sources import ContextSpec
from loomd.agents.strategies.base import Strategy
from loomd.agents.strategies.tool_use import ToolUse
from loomd.clock import Clock
from loomd.interceptors.context import Moment
from loomd.messages import JsonObject
from loomd.topology import Health


@dataclass(frozen=True)
class Latest:
    """What a newer revision says of an agent and what holds for work that began before it, too.

    Attributes:
        revision: the one that serves.
        limits: what a task may use; higher ones are for tasks that begin later.
        tools: names of the Tool objects that it may use; added ones are for tasks that begin later.
        permissions: which calls it may make; more of them are for tasks that begin later.
    """

    revision: str
    limits: Limits
    tools: Collection[str]
    permissions: Permissions = field(default_factory=Permissions)


def keeps(locked: Collection[str], domain: str) -> bool:
    """Return whether what is believed of an agent in a domain is locked, by what `Agent.locked` holds."""
    return "scores" in locked or f"domains.{domain}" in locked


def _unchanged() -> Latest | None:
    return None


def _itself(tool: str) -> str:
    return tool


def _never(listener: Callable[[], object]) -> AbstractContextManager[None]:
    del listener
    return nullcontext()


@dataclass
class Agent:
    """A live agent; many pieces of work may share it.

    Attributes:
        digest: SHA-256 of what makes it behave as it does; learned scores belong to it.
        host: name of the declared agent as whom it works, see `principal`; empty for one that works as itself.
        skill: name of the skill that it takes up for every task; empty for none.
        prompt: Jinja2 template of the system prompt.
        instructions: what follows it word for word: what a cluster learned that helps.
        context: how its prompts are put together.
        output: JSON Schema of the answer, or None for free text.
        permissions: which tool calls it may make.
        tool_context: what its tools are told of it beside their arguments.
        durability: what is kept of its work; None is what is kept of the task.
        tools: by the names that the model sees, see `Toolbox`.
        owner: returns the name of the Tool object that brings a tool; the tool's own name unless that is a set.
        strategy: how it and its model speak with each other.
        done: whether the model ends its work by calling the tool `done`.
        parallel_tools: whether tool calls of one turn are made side by side.
        history: most earlier turns of a conversation that it is told of.
        skill_budget: how much of the prompt its skills may take up.
        accounts: what it has used today, and may use.
        payer: name of the agent whose daily budgets it uses up; empty for its own.
        averages: what was learned of its prompts, and of the tokens of models.
        outer: interceptors of the agents that asked it; they look at its tool calls, too.
        conditions: what clusters observed of how it does, by their names; nothing of one that does well.
        loads: how much work it and others have in hand, over all clusters and revisions.
        locked: what of it nothing that is learned may touch: `instructions`, `scores`, `health`, and `domains.NAME`.
        latest: returns what a newer revision says; None when there is none, or none with this agent.
        listening: calls a function, as long as the context lasts, whenever another revision serves.
    """

    name: str
    namespace: str
    digest: str
    description: str
    domains: Mapping[str, float]
    model: ChatModel
    prompt: str
    limits: Limits
    clock: Clock
    instructions: str = ""
    host: str = ""
    skill: str = ""
    context: ContextSpec = field(default_factory=ContextSpec)
    output: JsonObject | None = None
    temperature: float | None = None
    max_tokens: int = 1024
    tools: Mapping[str, Tool] = field(default_factory=dict)
    owner: Callable[[str], str] = _itself
    knowledge: Sequence[KnowledgeBase] = ()
    skills: Sequence[Skills] = ()
    skill_budget: SkillBudget = field(default_factory=SkillBudget)
    interceptors: Sequence[Interceptor] = ()
    outer: Sequence[Interceptor] = ()
    memory: Memory | None = None
    permissions: Permissions = field(default_factory=Permissions)
    tool_context: Mapping[str, object] = field(default_factory=dict)
    durability: Literal["steps", "task", "none"] | None = None
    strategy: Strategy = field(default_factory=ToolUse)
    done: bool = False
    parallel_tools: bool = True
    history: int = 20
    accounts: Accounts = field(default_factory=Accounts)
    payer: str = ""
    averages: Averages = field(default_factory=Averages)
    loads: Loads = field(default_factory=Loads)
    locked: frozenset[str] = frozenset()
    conditions: dict[str, Health] = field(default_factory=dict[str, Health])
    latest: Callable[[], Latest | None] = _unchanged
    listening: Callable[[Callable[[], object]], AbstractContextManager[None]] = _never

    @property
    def account(self) -> str:
        """Return the name of the agent whose daily budgets it uses up."""
        return self.payer or self.name

    def keeps(self, domain: str) -> bool:
        """Return whether a person locked what is believed of it in a domain."""
        return bool(self.locked) and keeps(self.locked, domain)

    @property
    def principal(self) -> str:
        """Return as whom it works: whose name its prompt says, and whose memory and conversations it has."""
        return self.host or self.name

    @property
    def load(self) -> int:
        """Return how many pieces of work it has in hand, over all clusters and revisions."""
        return self.loads.of(self.namespace, self.name)

    def health(self) -> list[Health]:
        """Return how it does in the cluster in which it does worst; nothing when it does well, or it is not known."""
        order = ("Retired", "Dying", "DoingBadly")
        return sorted(self.conditions.values(), key=lambda one: (order.index(one.reason), one.since))[:1]

    def around(self, moment: Moment) -> list[Interceptor]:
        """Return the interceptors that are asked at a moment, the outermost first."""
        if not self.interceptors and not self.outer:
            return []
        all_ = (*self.outer, *self.interceptors) if moment in {"beforeTool", "afterTool"} else self.interceptors
        return [one for one in all_ if moment in one.moments]

    def limits_now(self) -> Limits:
        """Return the limits that hold now: of each, the lower one of when the work began and of now."""
        latest = self.latest()
        return self.limits if latest is None else self.limits.lowest(latest.limits)

    def offered(self) -> list[Tool]:
        """Return the tools that may be called now."""
        if not self.tools:
            return []
        latest = self.latest()
        hiding = [rule for rule in self._rules(latest) if rule.deny or rule.allow is not None]
        named = [
            (name, tool)
            for name, tool in self.tools.items()
            if not tool.withdrawn and (latest is None or self.owner(name) in latest.tools)
        ]
        return [tool for name, tool in named if not (hiding and any(rule.hides(name) for rule in hiding))]

    def rules(self) -> tuple[Permissions, ...]:
        """Return the permissions that hold now, all of them: those of now, and those of when the work began."""
        return self._rules(self.latest())

    def _rules(self, latest: Latest | None) -> tuple[Permissions, ...]:
        own = self.permissions
        if latest is None or latest.permissions is own or latest.permissions == own:
            return (own,)
        return latest.permissions, own

    def forbids(self, tool: str, arguments: JsonObject, inherited: Sequence[Permissions] = ()) -> str:
        """Return why permissions do not let a call pass, or an empty string.

        Args:
            tool: name of the tool.
            arguments: those of the call.
            inherited: what binds the work beside the agent's own permissions.
        """
        call: JsonObject | None = None
        for rule in (*inherited, *self.rules()):
            if rule.deny or rule.allow is not None:
                call = self.effective(tool, arguments) if call is None else call
                if why := rule.refusal(tool, call):
                    return why
        return ""

    def approval(self, tool: str, arguments: JsonObject, inherited: Sequence[Permissions] = ()) -> Approval | None:
        """Return on what terms people must agree to a call, by the tool or by permissions; None when nobody is asked.

        Args:
            tool: name of the tool.
            arguments: those of the call.
            inherited: what binds the work beside the agent's own permissions.
        """
        known = self.tools.get(tool)
        if known is not None and (terms := known.approval) is not None:
            return terms
        call: JsonObject | None = None
        for rule in (*inherited, *self.rules()):
            if rule.ask:
                call = self.effective(tool, arguments) if call is None else call
                if rule.asks(tool, call):
                    return rule
        return None

    def effective(self, tool: str, arguments: JsonObject) -> JsonObject:
        """Return the arguments of a call as the tool takes them: those left out have the defaults that it declares."""
        return effective(self.tools[tool].schema if tool in self.tools else None, arguments)

    def refusal(self, tool: str) -> str:
        """Return why the agent may not call a tool, or an empty string when nothing speaks against it."""
        latest = self.latest()
        if tool not in self.tools:
            known = ", ".join(offer.schema.name for offer in self.offered()) or "none"
            return f'there is no tool "{tool}"; available: {known}'
        if latest is not None and self.owner(tool) not in latest.tools:
            return f'the tool "{tool}" was withdrawn from this agent at revision {latest.revision}: go on without it'
        return self.tools[tool].withdrawn
