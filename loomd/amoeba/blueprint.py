"""Blueprints: how an agent is made from one that a person declared, by what a cluster learned.

There are two sorts. A specialist that was forged has a name of its own and all that its blueprint says, the rest from
its creator. An agent that learned keeps its name and all that a person declared; instructions are added to its prompt.
Either way what the blueprint says is text for a model, never a template.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from loomd.agents.agent import Agent
from loomd.manifest.template import holds


class Blueprint(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version of how an agent is made.

    Attributes:
        cluster: name of the cluster that made it, in whose tasks alone it plays a part.
        creator: the declared agent that it is made from; its own name for an agent that learned.
        instructions: of a specialist its whole prompt, of an agent that learned what is added to its own.
        description: what a specialist is good at, in one sentence.
        domains: what a specialist is believed to be good at before it did anything, each from 0 to 1.
        tools: names of the creator's tools that a specialist has.
    """

    cluster: str
    creator: str
    instructions: str = ""
    description: str = ""
    domains: Mapping[str, float] = {}
    tools: Sequence[str] = ()

    def make(self, name: str, creator: Agent) -> Agent:
        """Return the agent; a blueprint without instructions makes an agent that learned what it was before.

        So does one whose instructions a person took over into the prompt, because they are not said twice, and one
        whose instructions a person locked.

        What is withdrawn from the creator, or forbidden to it, is so for the agent.

        Args:
            name: its name.
            creator: the declared agent that it is made from, live.
        """
        if name == self.creator:
            if not self._adds(creator.prompt) or "instructions" in creator.locked:
                return creator
            digest = self.digest(name, creator.digest, creator.prompt)
            return replace(creator, instructions=self.instructions, digest=digest)
        return replace(
            creator,
            name=name,
            digest=self.digest(name, creator.digest, creator.prompt),
            description=self.description,
            domains=dict(self.domains),
            prompt="",
            instructions=self.instructions,
            tools={tool: creator.tools[tool] for tool in self.tools if tool in creator.tools},
            locked=frozenset(),  # what a person locked is about what a person declared
            conditions={},
            payer=creator.account,
            host="",
            skill="",
        )

    def digest(self, name: str, creator: str, prompt: str) -> str:
        """Return what tells behaviours apart: like the creator's own, a description does not count.

        Args:
            name: name of the agent that is made.
            creator: digest of its creator.
            prompt: the creator's prompt.
        """
        if name == self.creator and not self._adds(prompt):
            return creator
        said = [creator, self.instructions, sorted(self.tools)]
        return hashlib.sha256(msgspec.json.encode(said)).hexdigest()

    def _adds(self, prompt: str) -> bool:
        """Return whether there are instructions that are not in a prompt yet."""
        return bool(self.instructions) and not holds(prompt, self.instructions)


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Blueprint).decode
