"""Regular expressions in manifests: of RE2, which takes linear time whatever the pattern and the text.

The standard module `re` never sees a pattern from a manifest: some take it for ever. RE2 is imported when there is a
pattern. Called by specs, and by what they open.
"""

from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from loomd.manifest.wording import quoted

MAX_PROGRAM = 8 << 20
"""Most bytes that a compiled pattern may take."""


def _checked(pattern: str) -> str:
    """Return a pattern that can be used.

    Raises:
        ValueError: it cannot.
    """
    import re2  # noqa: PLC0415  # only a manifest with a pattern needs it

    try:
        compiled(pattern)
    except re2.error as error:
        said = error.args[0] if error.args else error
        reason = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise ValueError(f"expected a regular expression of RE2, got {quoted(pattern)}: {reason}") from None
    return pattern


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> Any:
    """Return a pattern, ready for `found` and `replaced`."""
    import re2  # noqa: PLC0415  # see above

    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_PROGRAM
    return re2.compile(pattern, options)


def found(pattern: Any, text: str) -> str | None:
    """Return what a compiled pattern finds first in a text, or None."""
    match = pattern.search(_utf8(text))
    return None if match is None else str(match[0])


def replaced(pattern: Any, text: str, put: str) -> str:
    """Return a text with `put`, as it is, in place of all that a compiled pattern finds."""

    def literal(_: object) -> str:
        return put

    return str(pattern.sub(literal, _utf8(text)))


def _utf8(text: str) -> str:
    """Return a text that RE2 can read: half a character, such as a lone surrogate, becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


Regexp = Annotated[str, Field(min_length=1, max_length=10_000), AfterValidator(_checked)]
"""A regular expression of RE2: `(?i)` for any case of letters; no look-around, no back-references."""
