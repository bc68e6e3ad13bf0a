"""A Python function that says whether an answer will do, and what came of it. Data; `python_check` runs it."""

import msgspec

TIMEOUT = 10.0
"""Longest time of a call, in seconds, unless a check says it."""


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """A Python function that says whether an answer will do.

    Attributes:
        source: what the file holds that the function is in.
        function: its name.
        file: path of the file, for messages.
        timeout: longest time of a call, in seconds.
    """

    source: str
    function: str = "check"
    file: str = "check.py"
    timeout: float = TIMEOUT


class Checked(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of a check: whether the answer will do, what is said, and whether the check itself is at fault."""

    good: bool = False
    text: str = ""
    broken: bool = False
