"""Kind Skill."""

from loomd.manifest.kind import Kind
from loomd.skills.base import SkillSpec

KIND = Kind(
    name="Skill",
    plural="skills",
    spec=SkillSpec,
    summary="Instructions that an agent takes up when they fit the task.",
)
