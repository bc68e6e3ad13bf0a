"""`kind: Agent` as `loomd.dev/v1alpha1` had it: limits were fields of the spec, the time in seconds."""

from loomd.manifest.duration import format_duration
from loomd.manifest.version import Move, OldVersion

_LONGEST = 100_000_000


def _duration(value: object) -> str:
    """Return a number of seconds as a text with a unit."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LONGEST:
        raise ValueError(f"a number of seconds from 0 to {_LONGEST}")
    return format_duration(value)


V1ALPHA1 = OldVersion(
    "loomd.dev/v1alpha1",
    (
        Move("/spec/systemPrompt", "prompt"),
        Move("/spec/maxSteps", "limits/steps"),
        Move("/spec/budgetTokens", "limits/tokens"),
        Move("/spec/budgetCost", "limits/cost"),
        Move("/spec/timeoutSeconds", "limits/time", _duration),
    ),
)
