"""What an agent takes up of its skills for one piece of work: by its goal, and by what the model asks for.

Skills whose triggers fit stand in the prompt; those that the model may take up are listed there by name and
description, and the tool `skill` returns their instructions and files. Which ones are taken up is a recorded step;
between steps all is pure, so that resumed work finds the same. Called by the loop, `context` and `calling`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from loomd.agents.agent import Agent
from loomd.agents.approval import Approval
from loomd.agents.base import Effects, OnUncertain, Skill, Skills, Steps, Tool
from loomd.errors import Permanent, ToolFailed
from loomd.events.bus import Scope
from loomd.events.skill import SkillActivated, SkillsOffered
from loomd.manifest.wording import did_you_mean, listed
from loomd.messages import NO_OBJECT, UNREADABLE, JsonObject, ToolCall, ToolSchema
from loomd.tools.context import ToolContext

TOOL = "skill"
"""Name of the tool with which a model takes skills up; no other tool of an agent with skills may have it."""

_SCHEMA = ToolSchema(
    TOOL,
    "Takes up a skill: returns its instructions, or one of its files. Call it before you begin what a skill is for.",
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "Name of the skill."},
            "resource": {"type": "string", "description": "Path of one of its files; without it, its instructions."},
        },
        "required": ["name"],
        "additionalProperties": False,
    },
)
_HEAD = "## Skill: "
_CATALOGUE = (
    "## Skills\nInstructions for special work. When one of these fits what you are to do, call the tool `skill` with "
    "its name first, and follow what it returns."
)
_CHARACTERS = 4
"""Characters in a token, where no service counts them."""
_LONGEST = 500
"""Characters of what is said of arguments that are refused."""
_FILES = 50
"""Most files of a skill that are listed with its instructions; the others can be read all the same."""


class Taken(msgspec.Struct, frozen=True):
    """A skill that stands in the prompt: what took it up, why, and how sure that is (0 to 1)."""

    name: str
    trigger: str
    why: str
    score: float


class Choice(msgspec.Struct, frozen=True):
    """What became of an agent's skills for a goal.

    Attributes:
        taken: those that stand in the prompt, in its order.
        listed: names of those that the model may take up.
        unlisted: names of those for which the list had no room.
    """

    taken: tuple[Taken, ...] = ()
    listed: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()


_NONE: Mapping[str, Skill] = MappingProxyType({})
_UNDECIDED = Choice()


class SkillUse:
    """The skills of one piece of work.

    Args:
        agent: whose skills they are.
        key: prefix of the keys of the work's steps.
        steps: where the choice is recorded.
        scope: the envelope of the task's events.
    """

    __slots__ = ("_agent", "_choice", "_goal", "_key", "_known", "_room", "_scope", "_steps", "_used")

    def __init__(self, agent: Agent, key: str, steps: Steps, scope: Scope) -> None:
        self._agent = agent
        self._goal = ""
        self._room: int | None = None
        self._key = key
        self._steps = steps
        self._scope = scope
        self._known = _NONE
        if agent.skills:
            self._known = {name: one for group in agent.skills for name, one in group.skills.items()}
        self._choice = _UNDECIDED
        self._used = _NONE

    async def take_up(self, goal: str, room: int | None = None) -> list[str]:
        """Take up what fits a goal, and return the parts of the system prompt that say so.

        Args:
            goal: what is wanted.
            room: most tokens of all parts together, when less than the agent's own budget for them.
        """
        self._goal, self._room = goal, room
        if not self._known:
            return []
        self._choice = await self._steps.step(f"{self._key}/skills", "skills", self._choose, Choice)
        self._used = {one.name: self._known[one.name] for one in self._choice.taken if one.name in self._known}
        parts = [told(skill) for skill in self._used.values()]
        if lines := [_line(self._known[name]) for name in self._choice.listed if name in self._known]:
            more = len(self._choice.unlisted)
            lines += [f"({more} more {'is' if more == 1 else 'are'} not listed.)"] if more else []
            parts.append("\n".join([_CATALOGUE, *lines]))
        return parts

    def offered(self) -> list[Tool]:
        """Return the tools that may be called now, with that of the skills."""
        if not self._known:
            return self._agent.offered()
        tools = [tool for tool in self._agent.offered() if not self._narrowed(tool.schema.name)]
        hidden = any(rule.hides(TOOL) for rule in self._agent.rules())
        return [*tools, SkillTool(self)] if self._has_tool and not hidden else tools

    def find(self, tool: str) -> Tool | None:
        """Return the tool of a name, that of the skills included."""
        return SkillTool(self) if tool == TOOL and self._has_tool else self._agent.tools.get(tool)

    def refusal(self, tool: str) -> str:
        """Return why a tool may not be called now, or an empty string when nothing speaks against it."""
        if tool == TOOL and self._has_tool:
            return ""
        return self._agent.refusal(tool) or self._narrowed(tool)

    def note(self, call: ToolCall, result: str) -> None:
        """Note the result of a call: what a skill allows holds from the next turn on, for the rest of the work."""
        if call.name == TOOL and not call.arguments.get("resource") and result.startswith(_HEAD):
            name = result.removeprefix(_HEAD).partition("\n")[0]
            if name in self._reachable:
                self._used = {**self._used, name: self._known[name]}

    async def read(self, name: str, resource: str) -> str:
        """Return the instructions of a skill, or the text of one of its files, for the model.

        Raises:
            ToolFailed: there is no such skill or file; the text is for the model.
        """
        if name not in self._reachable:
            hint = did_you_mean(name, [*self._used, *self._choice.listed], "there are:")
            raise ToolFailed(f'there is no skill "{name}"{f": {hint}" if hint else ""}')
        skill = self._known[name]
        if resource:
            return await skill.read(resource)
        if name not in self._used:
            self._emit(Taken(name, "model", "the model asked for it", 1.0))
        return told(skill)

    @property
    def _reachable(self) -> set[str]:
        """Return the names of the skills that the model may ask for."""
        return self._known.keys() & {*self._used, *self._choice.listed, *self._choice.unlisted}

    @property
    def _has_tool(self) -> bool:
        """Return whether there is anything that the model may ask for."""
        return bool(self._choice.listed) or any(skill.files for skill in self._used.values())

    async def _choose(self) -> Choice:
        """Return what becomes of the skills, and tell it."""
        named = set(_words(self._goal))
        fits: dict[str, Taken] = {}
        for group in self._agent.skills:
            for name, fit in (await group.fits(self._goal)).items():
                fits[name] = Taken(name, fit.trigger, fit.why, fit.score)
        fits |= {name: Taken(name, "manual", f"the task names /{name}", 1.0) for name in self._known if name in named}
        if own := self._agent.skill:
            fits[own] = Taken(own, "node", f"the task was won by {self._agent.name}, the node of this skill", 1.0)
        order = sorted(self._known.values(), key=lambda one: (one.name != own, one.name not in named, -one.priority))
        budget = self._agent.skill_budget
        whole = len(_CATALOGUE) // _CHARACTERS + budget.instructions + budget.catalogue
        room = whole if self._room is None else self._room
        texts = [(one, told(one)) for one in order if one.name in fits]
        taken, rest = _fill(min(budget.instructions, room), texts)
        room -= sum(len(text) for one, text in texts if one in taken) // _CHARACTERS
        wanted = [one for one in order if one not in taken and (one.offered or one in rest)]
        room -= len(_CATALOGUE) // _CHARACTERS
        listed, unlisted = _fill(min(budget.catalogue, max(0, room)), [(one, _line(one)) for one in wanted])
        for skill in taken:
            self._emit(fits[skill.name])
        choice = Choice(tuple(fits[one.name] for one in taken), _names(listed), _names(unlisted))
        if wanted:
            self._scope.emit(SkillsOffered(choice.listed, choice.unlisted), self._agent.name)
        return choice

    def _emit(self, one: Taken) -> None:
        tools = self._known[one.name].tools
        self._scope.emit(SkillActivated(one.name, one.trigger, one.why, one.score, tools), self._agent.name)

    def _narrowed(self, tool: str) -> str:
        """Return which skills in use keep a tool from being called, or an empty string."""
        if not self._used:
            return ""
        limiting = [skill for skill in self._used.values() if skill.tools is not None]
        allowed = {name for skill in limiting for name in skill.tools or ()}
        if not limiting or tool in allowed:
            return ""
        names = listed(skill.name for skill in limiting)
        return f'the tool "{tool}" is none of those that may be used with {names}: go on without it'


class SkillTool:
    """The tool with which a model takes skills up and reads their files; fits `loomd.agents.base.Tool`."""

    schema = _SCHEMA
    effects: Effects = "read"
    idempotent = True
    withdrawn = ""
    on_uncertain: OnUncertain = "fail"
    approval: Approval | None = None
    max_output = 1 << 20  # what a skill says is bounded where it is read

    def __init__(self, use: SkillUse) -> None:
        self._use = use

    async def call(self, arguments: JsonObject, context: ToolContext | None = None) -> str:
        """Return the instructions of a skill, or one of its files.

        Raises:
            ToolFailed: the arguments name nothing that there is.
        """
        del context
        if UNREADABLE in arguments:
            raise ToolFailed(NO_OBJECT)
        if others := [name for name in arguments if name not in ("name", "resource")]:
            raise ToolFailed(f'expected the arguments "name" and "resource", got also {", ".join(others)}'[:_LONGEST])
        name, resource = arguments.get("name"), arguments.get("resource", "")
        if not isinstance(name, str) or not isinstance(resource, str | None):
            raise ToolFailed('expected the arguments "name" and, for a file, "resource", both texts')
        return await self._use.read(name, resource or "")


def require_distinct(groups: Mapping[str, Skills], tools: Collection[str]) -> list[Skills]:
    """Return the skills of an agent.

    Args:
        groups: its live skills, by the names of their objects.
        tools: names of its tools.

    Raises:
        Permanent: two have one name, or a tool has the name of the one that takes up skills.
    """
    if groups and TOOL in tools:
        raise Permanent(f'spec.tools: expected no tool of the name "{TOOL}" beside skills, got one: rename it')
    owners: dict[str, str] = {}
    for owner, group in groups.items():
        for name in group.skills:
            before = owners.setdefault(name, owner)
            if before != owner:
                raise Permanent(
                    f'spec.skills: expected skills of different names, got two "{name}", of Skill/{before} and '
                    f"Skill/{owner}: leave one out (spec.exclude of a directory)"
                )
    return list(groups.values())


def told(skill: Skill) -> str:
    """Return the instructions of a skill as a model reads them, with the files that belong to it."""
    text = f"{_HEAD}{skill.name}\n{skill.instructions}"
    if not skill.files:
        return text
    more = len(skill.files) - _FILES
    files = [f"- {path}" for path in skill.files[:_FILES]] + ([f"- and {more} more"] if more > 0 else [])
    head = f'Files of this skill; the tool `skill` returns one with name "{skill.name}" and its path as resource:'
    return "\n".join([text, "", head, *files])


def _line(skill: Skill) -> str:
    """Return a skill's line in the catalogue."""
    return f"- {skill.name}: {' '.join(skill.description.split())}"


def _words(goal: str) -> Iterable[str]:
    """Yield the names that a goal gives as words such as `/name`."""
    return (word[1:].rstrip(".,:;!?)") for word in goal.split() if word.startswith("/"))


def _names(skills: Iterable[Skill]) -> tuple[str, ...]:
    return tuple(skill.name for skill in skills)


def _fill(tokens: int, texts: Sequence[tuple[Skill, str]]) -> tuple[list[Skill], list[Skill]]:
    """Return the skills whose texts fit, one after another, and those for which there is no room."""
    left = tokens * _CHARACTERS
    fitting: list[Skill] = []
    rest: list[Skill] = []
    for skill, text in texts:
        if len(text) <= left:
            left -= len(text)
            fitting.append(skill)
        else:
            rest.append(skill)
    return fitting, rest
