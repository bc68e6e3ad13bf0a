"""Kind Skill."""

from typing import Any

from loomd.manifest.kind import Kind


def _import_spec() -> Any:
    from loomd.skills.base import SkillSpec  # noqa: PLC0415  # only manifests of this kind need it

    return SkillSpec


KIND = Kind(
    name="Skill",
    plural="skills",
    import_spec=_import_spec,
    summary="Instructions that an agent takes up when they fit the task.",
)
