"""Kind Task."""

from typing import Any

from loomd.manifest.kind import Kind


def _import_spec() -> Any:
    from loomd.tasks.spec import TaskSpec  # noqa: PLC0415  # only manifests of this kind need it

    return TaskSpec


KIND = Kind(
    "Task", "declaredtasks", _import_spec, "Work that is declared once, and runs when somebody sends it.", sent=True
)
