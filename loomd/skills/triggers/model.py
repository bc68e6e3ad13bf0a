"""Model: the model that answers decides, from names and descriptions in its prompt."""

from typing import ClassVar, Literal

from loomd.skills.triggers.base import Judge, Trigger, alike
from loomd.topology import Parts


class ModelTrigger(Trigger):
    """Offers the skill to the model, which takes it up with the tool `skill` when it wants it."""

    type: Literal["model"] = "model"
    offers: ClassVar[bool] = True
    describes: ClassVar[bool] = True

    def judge(self, parts: Parts) -> Judge:
        """Return what takes nothing up: the model has yet to decide."""
        del parts
        return alike(lambda _: None)
