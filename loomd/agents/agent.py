"""A live agent: what it is, and the live parts that it uses. Made by `kind`, run by `loop`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from loomd.agents.base import ChatModel, Interceptor, KnowledgeBase, Memory, Skill, Tool
from loomd.agents.budget import Limits
from loomd.clock import Clock
from loomd.messages import JsonObject


@dataclass
class Agent:
    """A live agent; many pieces of work may share it.

    Attributes:
        digest: SHA-256 of what makes it behave as it does; learned scores belong to it.
        prompt: Jinja2 template of the system prompt.
        output: JSON Schema of the answer, or None for free text.
        running: pieces of work in hand right now, over all clusters.
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
    output: JsonObject | None = None
    temperature: float | None = None
    max_tokens: int = 1024
    tools: Mapping[str, Tool] = field(default_factory=dict)
    knowledge: Sequence[KnowledgeBase] = ()
    skills: Sequence[Skill] = ()
    interceptors: Sequence[Interceptor] = ()
    memory: Memory | None = None
    running: int = 0
