"""The phases of a task, in their order. Imports nothing heavy: the command line shows them."""

from itertools import pairwise
from typing import Literal, get_args

Phase = Literal["sense", "match", "scale", "execute", "evaluate", "adapt"]

FIRST: Phase = get_args(Phase)[0]
"""The phase with which a task begins."""

_AFTER: dict[str, Phase] = dict(pairwise(get_args(Phase)))


def phase_after(phase: str) -> Phase | None:
    """Return the phase that begins when one ends, unless its task ends with it; None after the last one."""
    return _AFTER.get(phase)
