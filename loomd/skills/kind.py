"""Kind Skill."""

from loomd.manifest.kind import Kind

KIND = Kind(
    name="Skill",
    plural="skills",
    spec_at="loomd.skills.base:SkillSpec",
    summary="Instructions that an agent takes up when they fit the task.",
)
