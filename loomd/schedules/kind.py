"""Kind Schedule."""

from loomd.manifest.kind import Kind

KIND = Kind("Schedule", "schedules", "loomd.schedules.spec:ScheduleSpec", "Tasks that are submitted by the clock.")
