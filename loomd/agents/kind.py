"""`kind: Agent`: what an agent is, as written in YAML."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from loomd.accounts.budget import Budget, Budgets
from loomd.agents import done
from loomd.agents.agent import Agent, Latest
from loomd.agents.base import ChatModel, Interceptor, KnowledgeBase, Memory, Skills, Tool, ToolSet
from loomd.agents.budget import Limits, SkillBudget
from loomd.agents.permissions import Permissions, misnamed
from loomd.agents.skills import TOOL, require_distinct
from loomd.agents.sources import ContextSpec
from loomd.agents.strategies.base import Strategy
from loomd.agents.strategies.tool_use import ToolUse
from loomd.agents.toolbox import Toolbox
from loomd.agents.v1alpha1 import V1ALPHA1
from loomd.errors import Permanent
from loomd.manifest.inline_schema import schema_faults
from loomd.manifest.kind import Behaviour, Kind, RefTo, Reload, Spec
from loomd.manifest.locked import missing
from loomd.manifest.object import Object
from loomd.manifest.oneof import OneOf
from loomd.manifest.quantity import Share, Tokens
from loomd.manifest.rule import PATTERN_MESSAGE
from loomd.manifest.secret import literal_secrets
from loomd.manifest.selector import Selector, SelectorOf
from loomd.manifest.template import Template
from loomd.messages import JsonObject
from loomd.topology import Parts

DEFAULT_PROMPT = "You are {{ agent }}. Answer the request exactly and briefly."


LEARNED = {"prompt": "instructions", "domains": "scores"}
"""Fields of an agent that stand in `locked` for what is learned of them."""

_PATH_RULE: dict[str, JsonValue] = {PATTERN_MESSAGE: "expected domains and the name of one, such as domains.refunds"}
_DomainPath = Annotated[
    str, Field(pattern=r"^domains\..+$", examples=["domains.refunds"], json_schema_extra=_PATH_RULE)
]


class AgentSpec(Spec):
    """One mind: a model, a prompt, and what it may use."""

    description: str = Field(default="", examples=["Answers questions about the Python language."])
    """What the agent is good at, in one sentence; auctions compare tasks with it."""
    provider: Annotated[str, RefTo("Provider")] = Field(examples=["local"])
    """Provider of the model that answers; or `service/model` such as `openai/gpt-5.1`, without a Provider of its own;
    or `name/model` for another model of a Provider that is declared."""
    prompt: Annotated[str, Template("agent", "goal", "namespace")] = DEFAULT_PROMPT
    """System prompt, a sandboxed Jinja2 template over `agent`, `goal` and `namespace`. One that holds the goal differs
    in every task, so that no service finds it in its cache; the goal is said in the first turn anyway."""
    domains: dict[str, Share] = Field(default_factory=dict, examples=[{"python": 0.8}])
    """What the agent is believed to be good at before anything was learned, each from 0 to 1."""
    tools: Annotated[list[Annotated[str, RefTo("Tool")]], Reload("immediate")] = Field([], examples=[["search"]])
    """Tools that the agent may call; one that is a tool set brings all that it offers."""
    tool_context: JsonObject = Field(default_factory=dict, examples=[{"tenant": "acme"}])
    """What the agent's tools are told beside their arguments, as `metadata` and as attributes of their `ToolContext`,
    and as `{context.NAME}` in templates. No model sees it; it is no place for secrets."""
    knowledge: list[Annotated[str, RefTo("KnowledgeBase")]] = Field(default_factory=list, examples=[["handbook"]])
    """Knowledge bases that are searched for every task; the answer cites their passages."""
    skills: list[Annotated[str, RefTo("Skill")]] = Field(default_factory=list, examples=[["code-review"]])
    """Skills whose instructions enter the prompt when they fit the task, or when the model asks for them."""
    skill_budget: SkillBudget = Field(default_factory=SkillBudget)
    """How much of the prompt skills may take up."""
    permissions: Annotated[Permissions, Reload("immediate")] = Field(default_factory=Permissions)
    """Which tool calls the agent may make, and to which people must agree; of its tasks' parts, too."""
    interceptors: list[Annotated[str, RefTo("Interceptor")] | Annotated[Selector, SelectorOf("Interceptor")]] = Field(
        default_factory=list, examples=[["private"]]
    )
    """Interceptors around the agent's work, every model call and every tool call, outermost first: by name, or by
    label as `{matchLabels: {...}}`, which stands for all that fit, in order of their names."""
    memory: Annotated[str, RefTo("Memory")] | None = Field(default=None, examples=["conversation"])
    """Memory that keeps the window small and recalls earlier answers."""
    output: JsonObject | None = Field(default=None, examples=[{"type": "object", "required": ["answer"]}])
    """JSON Schema that the answer must satisfy; without it the answer is free text."""
    strategy: Annotated[Strategy, OneOf("loomd.agents.strategies")] = Field(default_factory=ToolUse)
    """How the agent and its model speak of tools: by the means of the model's service, or as text."""
    done: bool = False
    """Whether the model ends its work by calling a tool `done` with the answer; text without it goes back to the model
    as often as `limits.repairs` says."""
    parallel_tools: bool = True
    """Whether tool calls of one turn are made side by side, or one after another."""
    history: int = Field(default=20, ge=0, le=1000)
    """Most earlier turns of a session that enter the conversation, each a question with its answer; of these only what
    fits the window of `memory`."""
    temperature: float | None = Field(default=None, ge=0, le=2, examples=[0.2])
    """Sampling temperature; the provider's default when unset."""
    max_tokens: Tokens = 1024
    """Longest answer of one model call, in tokens."""
    limits: Annotated[Limits, Reload("immediate")] = Field(default_factory=Limits)
    """What one task may use; a limit ends the work with what there is, it never throws it away."""
    budgets: Annotated[Budgets, Reload("immediate")] = Field(default_factory=Budgets)
    """What all its tasks together may use in a day; a task that meets a spent budget ends with what there is."""
    context: ContextSpec = Field(default_factory=ContextSpec)
    """How prompts are put together, and what is cut when there is too much for the model's window."""
    durability: Literal["steps", "task", "none"] | None = Field(default=None, examples=["none"])
    """What is kept of the agent's work: with `steps` every model and tool call, so that an interrupted task goes on
    after the last one; with `task` or `none` nothing, so that its work begins anew. By default what is kept of the
    task."""

    locked: list[Literal["prompt", "instructions", "domains", "scores", "health"] | _DomainPath] = Field(
        default_factory=list, examples=[["prompt", "domains.refunds"]]
    )
    """What of the agent nothing that a cluster learns may touch: paths of its fields, and names of what is learned.
    With `prompt`, or `instructions`, nothing is added to its prompt; with `domains`, or `scores`, what is believed of
    it stays as it is declared, and nothing else is learned of its rewards; with `domains.NAME` that holds in one of its
    domains; with `health` it is left out of no auction and never retired, however badly it does. It is no part of its
    behaviour: an edit keeps the scores."""

    def check(self, root: Path) -> Iterator[tuple[str, str, str]]:
        """Yield what is wrong with the schema of the answer, with names, and secrets in the manifest."""
        del root
        yield from literal_secrets(self.tool_context, "/toolContext")
        if self.skills and TOOL in self.tools:
            text = f'expected a tool of another name, got "{TOOL}": with it an agent takes up its skills'
            yield f"/tools/{self.tools.index(TOOL)}", text, "invalid-value"
        if self.output is not None:
            yield from schema_faults(self.output, "/output")
        if self.done and done.NAME in self.tools:
            text = f'expected a tool of another name, got "{done.NAME}": with `done: true` it ends the work'
            yield f"/tools/{self.tools.index(done.NAME)}", text, "invalid-value"
        yield from missing(self.locked, "domains.", self.domains, "a domain that the agent declares")

    @property
    def keeps(self) -> frozenset[str]:
        """Return what `locked` keeps, a field by the name of what is learned of it."""
        return frozenset(LEARNED.get(one, one) for one in self.locked)

    def behaviour(self) -> Behaviour:
        """Return what makes the agent behave as it does; learned scores belong to it.

        Its description, its limits and its documents are no part of it: an edit of those keeps the scores.
        """
        used = [("Provider", self.provider)]
        used += [("Tool", name) for name in self.tools]
        used += [("Skill", name) for name in self.skills]
        used += [("Interceptor", name) for name in self.interceptors if isinstance(name, str)]
        chosen = [f"/spec/interceptors/{at}" for at, one in enumerate(self.interceptors) if isinstance(one, Selector)]
        said = self.model_dump(mode="json", include={"prompt", "output", "temperature", "max_tokens"})
        said |= self.model_dump(mode="json", include={"strategy", "done"}, exclude_defaults=True)
        return Behaviour(said, used, chosen)

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[Agent, None]:
        """Wire the agent to the live things that it refers to.

        Raises:
            Permanent: two of its tools or of its skills have one name, a tool has a name of loomd's own, or its
                permissions name an argument that the tool does not take.
        """
        tools = Toolbox({name: parts.get("Tool", name, _tools) for name in self.tools})
        try:
            tools.check([done.NAME] if self.done else [])
        except Permanent as error:
            raise Permanent(f"{parts.declared.ref} spec.tools: {error}") from error
        if wrong := next((said for tool in tools.values() for said in misnamed(self.permissions, tool.schema)), ""):
            raise Permanent(f"{parts.declared.ref} {wrong}")
        serving = parts.services.serving

        def latest(item: Object | None) -> Latest | None:
            if item is None or item is parts.declared:
                return None
            spec = item.spec
            return Latest(serving.snapshot.revision, spec.limits, spec.tools, spec.permissions)

        def budget(item: Object | None) -> Budget:
            return self.budgets.daily if item is None else item.spec.budgets.daily

        services, namespace = parts.services, parts.declared.ref.namespace
        agent = Agent(
            name=parts.name,
            namespace=namespace,
            digest=parts.behaviour,
            description=self.description,
            domains=self.domains,
            model=parts.get("Provider", self.provider, ChatModel),
            prompt=self.prompt,
            limits=self.limits,
            clock=services.clock,
            context=self.context,
            accounts=services.accounts,
            averages=services.averages,
            loads=services.loads,
            output=self.output,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            durability=self.durability,
            strategy=self.strategy,
            done=self.done,
            parallel_tools=self.parallel_tools,
            history=self.history,
            tool_context=self.tool_context,
            tools=tools if self.tools else {},
            owner=tools.owner,
            knowledge=[parts.get("KnowledgeBase", name, KnowledgeBase) for name in self.knowledge],
            skills=require_distinct({name: parts.get("Skill", name, Skills) for name in self.skills}, tools),
            skill_budget=self.skill_budget,
            interceptors=[parts.get("Interceptor", name, Interceptor) for name in self._chosen(parts)],
            permissions=self.permissions,
            memory=parts.get("Memory", self.memory, Memory) if self.memory else None,
            locked=self.keeps,
            latest=parts.following(latest),
            listening=serving.listening,
        )
        with services.accounts.bounded(namespace, parts.name, parts.following(budget)):
            yield agent

    def _chosen(self, parts: Parts) -> Iterator[str]:
        """Yield the names of the interceptors in order; one that is named and selected stands at its first place."""
        names: dict[str, None] = {}
        for at, one in enumerate(self.interceptors):
            selected = [to.name for pointer, to in parts.declared.refs if pointer == f"/spec/interceptors/{at}"]
            names |= dict.fromkeys([one] if isinstance(one, str) else selected)
        yield from names


def _tools(live: Tool | ToolSet) -> Tool | ToolSet:
    """Return what an open Tool is, for `Parts.get`: one tool, or many."""
    return live


KIND = Kind(
    "Agent", "agents", lambda: AgentSpec, "One mind: a model, a prompt, and what it may use.", versions=(V1ALPHA1,)
)
