"""How often Python looks for objects that refer to each other in a circle and to which nothing else refers.

What a task leaves behind holds no such circle, so that all of it goes at once when the task ends. Called by the verbs
that run tasks, before they open anything.
"""

import gc

_YOUNG = 20_000
"""Objects that are made and kept before the youngest are looked through: what a hundred tasks hold that run at once."""


def collect_seldom() -> None:
    """Look through new objects now and then, and never through what was there before: modules and what they made."""
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
    gc.enable()
