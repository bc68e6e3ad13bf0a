"""Kind Schedule."""

from typing import Any

from loomd.manifest.kind import Kind


def _import_spec() -> Any:
    from loomd.schedules.spec import ScheduleSpec  # noqa: PLC0415  # only manifests of this kind need it

    return ScheduleSpec


KIND = Kind("Schedule", "schedules", _import_spec, "Tasks that are submitted by the clock.")
