"""Semantic versions and ranges of them: `>=1.2 <2`, `^1.4`, `~1.4.2`, `1.x`, alternatives with `||`. Pure.

Pre-releases fit only a range that names a pre-release of the same version, so that `>=1.0` never takes `2.0.0-rc.1`.
Called by the git source to choose a tag.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_NUMBER = "(?:0|[1-9][0-9]{0,8})"
_PART = f"(?:{_NUMBER}|[xX*])"
_PRE = "[0-9A-Za-z-]+(?:[.][0-9A-Za-z-]+)*"
_COMPARATOR = f"(?:(?:[<>]=?|=|[\\^]|~) *)?v?{_PART}(?:[.]{_PART}){{0,2}}(?:-{_PRE})?"
_ALL = f"{_COMPARATOR}(?:(?: *, *| +){_COMPARATOR})*"
RANGE = f"^ *{_ALL}(?: *[|][|] *{_ALL})* *$"
"""Pattern of a range; every text that fits it can be read."""

_VERSION = re.compile(f"v?({_NUMBER})[.]({_NUMBER})[.]({_NUMBER})(?:-({_PRE}))?(?:[+][0-9A-Za-z.-]+)?")
_ONE = re.compile(f"(?P<op>[<>]=?|=|[\\^]|~)? *v?(?P<numbers>{_PART}(?:[.]{_PART}){{0,2}})(?:-(?P<pre>{_PRE}))?")

_PreKey = tuple[tuple[int, int, str], ...]
Key = tuple[int, int, int, int, _PreKey]
"""Sorts as semantic versions do: the numbers, then a pre-release before its release."""


@dataclass(frozen=True)
class _Bound:
    """Versions from `low` on and below `high`; None is open."""

    low: Key | None
    high: Key | None
    pre: tuple[int, int, int] | None = None
    """Version whose pre-releases are meant too."""

    def holds(self, key: Key) -> bool:
        """Return whether a version is inside."""
        return (self.low is None or key >= self.low) and (self.high is None or key < self.high)


def version_key(text: str) -> Key | None:
    """Return what a version sorts by, or None when the text is no semantic version; a leading `v` is fine."""
    found = _VERSION.fullmatch(text)
    if found is None:
        return None
    return _key((int(found[1]), int(found[2]), int(found[3])), found[4] or "")


def highest(tags: Iterable[str], wanted: str) -> str | None:
    """Return the tag with the highest version in a range, or None when no tag fits.

    Args:
        tags: names of tags; what is no semantic version is left out.
        wanted: a range that fits `RANGE`.
    """
    alternatives = [[_bound(one) for one in _ONE.finditer(part)] for part in wanted.split("||")]
    fitting = [
        (key, tag)
        for tag in tags
        if (key := version_key(tag)) is not None and any(_fits(key, bounds) for bounds in alternatives)
    ]
    return max(fitting)[1] if fitting else None


def _fits(key: Key, bounds: list[_Bound]) -> bool:
    if not key[3] and key[:3] not in [bound.pre for bound in bounds]:
        return False
    return all(bound.holds(key) for bound in bounds)


def _key(numbers: tuple[int, int, int], pre: str) -> Key:
    parts = tuple((0, int(one), "") if one.isdigit() else (1, 0, one) for one in pre.split(".")) if pre else ()
    return (numbers[0], numbers[1], numbers[2], 0 if pre else 1, parts)


def _first(numbers: tuple[int, int, int]) -> Key:
    """Return the place just before all versions of these numbers, pre-releases included."""
    return (numbers[0], numbers[1], numbers[2], 0, ())


def _bound(found: re.Match[str]) -> _Bound:
    given = [int(one) for one in _known(found["numbers"].split("."))]
    full = (*given, 0, 0, 0)
    numbers = (full[0], full[1], full[2])
    pre = found["pre"] or ""
    exact = len(given) == 3
    here = _key(numbers, pre) if exact else _first(numbers)
    after = _next_key(numbers, pre) if exact else _after(numbers, len(given))
    low, high = _edges(found["op"] or "=", given, numbers, here, after)
    return _Bound(low, high, numbers if pre and exact else None)


def _known(parts: list[str]) -> list[str]:
    """Return the numbers before the first wildcard."""
    wild = [at for at, one in enumerate(parts) if one in {"x", "X", "*"}]
    return parts[: wild[0]] if wild else parts


def _edges(
    operator: str, given: list[int], numbers: tuple[int, int, int], here: Key, after: Key | None
) -> tuple[Key | None, Key | None]:
    if not given:  # `*`: everything, except that nothing is below or above everything
        return (None, None) if operator not in {"<", ">"} else (None, _first((0, 0, 0)))
    if operator == "^":
        first = next((at for at, one in enumerate(given) if one), len(given) - 1)
        return here, _after(numbers, first + 1)
    if operator == "~":
        return here, _after(numbers, min(len(given), 2))
    return {"=": (here, after), ">=": (here, None), "<": (None, here), ">": (after, None), "<=": (None, after)}[
        operator
    ]


def _after(numbers: tuple[int, int, int], count: int) -> Key:
    """Return the place just before the next version that differs in the first `count` numbers."""
    kept = [*numbers[: count - 1], numbers[count - 1] + 1, 0, 0]
    return _first((kept[0], kept[1], kept[2]))


def _next_key(numbers: tuple[int, int, int], pre: str) -> Key:
    """Return the place just after one exact version."""
    key = _key(numbers, pre)
    return (key[0], key[1], key[2], key[3], (*key[4], (-1, 0, "")))
