"""Facts about skills: which ones an agent took up, and which ones its model may take up."""

from loomd.events.fact import Fact


class SkillActivated(Fact, tag="skill.activated", frozen=True):
    """An agent took a skill up.

    Attributes:
        skill: its name.
        trigger: type of the trigger that took it up; `manual` when the task names it, `model` when the model asked,
            `node` when the skill itself won the task.
        why: what the trigger found.
        score: how sure it is, from 0 to 1; the likeness of the trigger `semantic`.
        tools: names of the tools that it allows from then on; None when it does not say.
    """

    skill: str
    trigger: str
    why: str
    score: float = 1.0
    tools: tuple[str, ...] | None = None


class SkillsOffered(Fact, tag="skill.offered", frozen=True):
    """Skills were listed in an agent's prompt, for the model to take up; for those in `unlisted` there was no room."""

    skills: tuple[str, ...]
    unlisted: tuple[str, ...] = ()
