"""What every trigger declares, and what comes of it: how well a task fits skills.

A trigger type is one module here with one `Trigger`. Called by the live skills for every task.
"""

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from loomd.manifest.kind import Spec
from loomd.topology import Parts


@dataclass(frozen=True)
class Fit:
    """That a skill fits a task.

    Attributes:
        trigger: type of the trigger that says so.
        why: what it found, in a few words.
        score: how sure it is, from 0 to 1.
    """

    trigger: str
    why: str
    score: float = 1.0


Judge = Callable[[str, Sequence[str]], Awaitable[Sequence[Fit | None]]]
"""Says of skills, given by their descriptions, whether a task fits them."""


class Trigger(Spec):
    """When skills are taken up. Each type adds its field `type`."""

    offers: ClassVar[bool] = False
    """Whether the skills are offered to the model."""
    describes: ClassVar[bool] = False
    """Whether the skills' descriptions are needed."""

    @abstractmethod
    def judge(self, parts: Parts) -> Judge:
        """Return what judges a task."""


def alike(find: Callable[[str], Fit | None]) -> Judge:
    """Return a judge to which a task fits all skills or none."""

    async def judge(text: str, descriptions: Sequence[str]) -> Sequence[Fit | None]:
        return [find(text)] * len(descriptions)

    return judge
