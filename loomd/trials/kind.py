"""Kind Test."""

from loomd.manifest.kind import Kind

KIND = Kind(
    "Test",
    "tests",
    "loomd.trials.spec:TrialSpec",
    "A task whose replies are given, and what must come of it; for `loomd test`.",
)
