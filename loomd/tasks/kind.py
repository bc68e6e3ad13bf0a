"""Kind Task."""

from loomd.manifest.kind import Kind

KIND = Kind(
    "Task",
    "declaredtasks",
    "loomd.tasks.spec:TaskSpec",
    "Work that is declared once, and runs when somebody sends it.",
    sent=True,
)
