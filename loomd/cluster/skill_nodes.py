"""Skills as members of a cluster: each bids with its name and description, and a host does the work when it wins.

Only what stands in the catalogue takes part in auctions; the instructions enter a prompt once a task was won. Called by
`kind`, which lets the nodes be members beside the agents.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from loomd.agents.agent import Agent
from loomd.agents.base import Fit, Skill, Skills
from loomd.agents.skills import require_distinct, told
from loomd.errors import Permanent
from loomd.manifest.kind import RefTo, Spec
from loomd.manifest.quantity import Share
from loomd.manifest.rule import some_of
from loomd.manifest.selector import Selector, SelectorOf

SELECTOR = "/spec/skillNodes/selector"
"""JSON pointer of the selector of skills in a cluster."""
_NONE = "expected skills, got none: name them in skills, or select them with selector"
_CHARACTERS = 4
"""Characters in a token, where no service counts them."""


class SkillNodes(Spec):
    """Skills that bid for tasks as members of their own, named `HOST+SKILL`."""

    model_config = ConfigDict(json_schema_extra=some_of(_NONE, skills={"minItems": 1}, selector={}))

    host: Annotated[str, RefTo("Agent")] = Field(examples=["clerk"])
    """The agent that does what a skill wins, with the skill taken up: its prompt, model, tools, permissions,
    interceptors, limits, memory and budget of the day hold. It need not be a member itself."""
    skills: list[Annotated[str, RefTo("Skill")]] = Field(default_factory=list, examples=[["shared"]])
    """The skills, by the names of their objects; an object that is a folder of skills brings a node for each."""
    selector: Annotated[Selector, SelectorOf("Skill")] | None = Field(
        default=None, examples=[{"matchLabels": {"team": "support"}}]
    )
    """Further ones, by the labels of the objects in this namespace; `{}` selects all of them."""
    score: Share = 0.7
    """What is believed of a node in the domain of its skill's name before anything was learned."""
    scores: dict[str, Share] = Field(default_factory=dict[str, float], examples=[{"minutes": 0.9}])
    """The same for single skills, by name. `loomd adopt` writes here what was learned of them; a name that no skill has
    changes nothing, because skills come and go with their folder."""

    @model_validator(mode="after")
    def _some_skill(self) -> Self:
        if not self.skills and self.selector is None:
            raise ValueError(_NONE)
        return self

    def prior(self, skill: str) -> float:
        """Return what is believed of a skill before anything was learned."""
        return self.scores.get(skill, self.score)

    async def make(self, host: Agent, groups: Mapping[str, Skills]) -> list[Agent]:
        """Return the nodes: the host under another name, with a skill that it takes up whatever the task says.

        Args:
            host: the live agent.
            groups: the live skills, by the names of their objects.

        Raises:
            Permanent: a skill has no description to bid with, its instructions find no room in the host's prompt, or
                two have one name.
        """
        require_distinct(groups, host.tools)
        own = {name: skill for group in host.skills for name, skill in group.skills.items()}
        nodes: list[Agent] = []
        for owner, group in groups.items():
            for name, skill in group.skills.items():
                _require_usable(host, owner, skill)
                if own.get(name, skill) is not skill:
                    raise Permanent(f'expected skills of other names than those of Agent/{host.name}, got "{name}"')
                nodes.append(
                    replace(
                        host,
                        name=f"{host.name}+{name}",
                        host=host.principal,
                        payer=host.account,
                        digest=_digest(host.digest, await skill.digest()),
                        description=skill.description,
                        domains={name: self.prior(name)},
                        skills=host.skills if name in own else [*host.skills, Alone(skill)],
                        skill=name,
                        conditions={},
                    )
                )
        return nodes


class Alone:
    """One skill of an object, which no task takes up by itself; fits `loomd.agents.base.Skills`."""

    def __init__(self, skill: Skill) -> None:
        self.skills = {skill.name: skill}

    async def fits(self, text: str) -> Mapping[str, Fit]:
        """Return nothing: whoever has it takes it up anyway."""
        del text
        return {}


def _digest(host: str, skill: str) -> str:
    """Return what tells behaviours of a node apart; a description does not count, like that of an agent."""
    return hashlib.sha256(f"{host}\n{skill}".encode()).hexdigest()


def _require_usable(host: Agent, owner: str, skill: Skill) -> None:
    """Refuse a skill that nobody would find in an auction, or that would not enter the prompt.

    Raises:
        Permanent: it is one.
    """
    if not skill.description:
        raise Permanent(f'expected a description of "{skill.name}", got none: with it the skill bids (Skill/{owner})')
    tokens, most = len(told(skill)) // _CHARACTERS, host.skill_budget.instructions
    if tokens > most:
        raise Permanent(
            f'expected instructions of at most {most} tokens in "{skill.name}" of Skill/{owner}, got {tokens}: raise '
            f"spec.skillBudget.instructions of Agent/{host.name}, or move some of them to files of the skill"
        )
