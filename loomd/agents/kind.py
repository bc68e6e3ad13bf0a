"""`kind: Agent`: what an agent is, as written in YAML."""

import hashlib
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

from pydantic import Field

from loomd.agents.agent import Agent
from loomd.agents.base import ChatModel, Interceptor, KnowledgeBase, Memory, Skill, Tool
from loomd.agents.budget import Limits
from loomd.manifest.kind import Kind, RefTo, Spec
from loomd.manifest.quantity import Share, Tokens
from loomd.manifest.template import Template
from loomd.messages import JsonObject
from loomd.topology import Parts

DEFAULT_PROMPT = "You are {{ agent }}. Answer the request exactly and briefly."


class AgentSpec(Spec):
    """One mind: a model, a prompt, and what it may use."""

    description: str = ""
    """What the agent is good at, in one sentence; auctions compare tasks with it."""
    provider: Annotated[str, RefTo("Provider")]
    """Provider of the model that answers."""
    prompt: Annotated[str, Template("agent", "goal", "namespace")] = DEFAULT_PROMPT
    """System prompt, a sandboxed Jinja2 template over `agent`, `goal` and `namespace`."""
    domains: dict[str, Share] = Field(default_factory=dict, examples=[{"python": 0.8}])
    """What the agent is believed to be good at before anything was learned, each from 0 to 1."""
    tools: list[Annotated[str, RefTo("Tool")]] = Field(default_factory=list)
    """Tools that the agent may call."""
    knowledge: list[Annotated[str, RefTo("KnowledgeBase")]] = Field(default_factory=list)
    """Knowledge bases that are searched for every task; the answer cites their passages."""
    skills: list[Annotated[str, RefTo("Skill")]] = Field(default_factory=list)
    """Skills whose instructions enter the prompt when they fit the task."""
    interceptors: list[Annotated[str, RefTo("Interceptor")]] = Field(default_factory=list)
    """Interceptors around every model and tool call, outermost first."""
    memory: Annotated[str, RefTo("Memory")] | None = None
    """Memory that keeps the window small and recalls earlier answers."""
    output: JsonObject | None = None
    """JSON Schema that the answer must satisfy; without it the answer is free text."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Sampling temperature; the provider's default when unset."""
    max_tokens: Tokens = 1024
    """Longest answer of one model call, in tokens."""
    limits: Limits = Field(default_factory=Limits)
    """What one task may use; a limit ends the work with what there is, it never throws it away."""

    def _behaviour(self, parts: Parts) -> str:
        """Return the digest of what makes the agent behave as it does; learned scores belong to it.

        Its description, its limits and its documents are no part of it: an edit of those keeps the scores.
        """
        said = self.model_dump(mode="json", include={"prompt", "output", "temperature", "max_tokens"})
        used = [("Provider", self.provider)]
        used += [("Tool", name) for name in self.tools]
        used += [("Skill", name) for name in self.skills]
        used += [("Interceptor", name) for name in self.interceptors]
        text = json.dumps([said, [parts.digest(kind, name) for kind, name in used]], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[Agent, None]:
        """Wire the agent to the live things that it refers to."""
        tools = [parts.get("Tool", name, Tool) for name in self.tools]
        yield Agent(
            name=parts.name,
            namespace=parts.declared.ref.namespace,
            digest=self._behaviour(parts),
            description=self.description,
            domains=self.domains,
            model=parts.get("Provider", self.provider, ChatModel),
            prompt=self.prompt,
            limits=self.limits,
            clock=parts.services.clock,
            output=self.output,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            tools={tool.schema.name: tool for tool in tools},
            knowledge=[parts.get("KnowledgeBase", name, KnowledgeBase) for name in self.knowledge],
            skills=[parts.get("Skill", name, Skill) for name in self.skills],
            interceptors=[parts.get("Interceptor", name, Interceptor) for name in self.interceptors],
            memory=parts.get("Memory", self.memory, Memory) if self.memory else None,
        )


KIND = Kind("Agent", "agents", AgentSpec, "One mind: a model, a prompt, and what it may use.")
