"""How values and fields are spoken of in problems. What may be a secret is never quoted. Called by the checks."""

import difflib
import re
from collections.abc import Iterable
from typing import Any

_LONGEST = 60
_MOST_NAMES = 12
_SECRET = frozenset(
    (
        *("apikey", "auth", "authorization", "bearer", "cookie", "credential", "credentials"),
        *("key", "passphrase", "passwd", "password", "secret", "token"),
    )
)
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_USER = re.compile(r"(?<=://)[^\s/?#@]*@")
_PARAMETER = re.compile(r"""(?<=[?&])([^\s=&#]+)=[^\s&#"']+""")
_NAMES = {bool: "true or false", str: "text", int: "a whole number", float: "a number", list: "a list"}


def is_secret(pointer: str) -> bool:
    """Return whether the value at a JSON pointer may be a secret, judged by the names on the way to it."""
    return any(word.lower() in _SECRET for word in _WORDS.findall(pointer))


def got(value: Any, pointer: str) -> str:
    """Return a value as a problem shows it: short, on one line, and hidden when it may be a secret."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if is_secret(pointer):
        return f"{_NAMES.get(type(value), 'a value')} (hidden)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"text {quoted(without_secrets(value))}"
    return f"the number {value}"


def without_secrets(text: str) -> str:
    """Return text in which the passwords and secret parameters of addresses are replaced by `***`."""
    text = _USER.sub("***@", text)
    return _PARAMETER.sub(lambda found: f"{found[1]}=***" if is_secret(found[1]) else found[0], text)


def quoted(text: str) -> str:
    """Return text in double quotes, on one line, cut to a readable length, without control characters."""
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in short) + '"'


def dotted(pointer: str) -> str:
    """Return a JSON pointer as people write it: `/spec/tools/0` -> `spec.tools[0]`."""
    text = ""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        text += f"[{name}]" if name.isdigit() else f".{name}" if text else name
    return text


def listed(names: Iterable[Any]) -> str:
    """Return names as `a, b, c`, at most a dozen."""
    known = [str(name) for name in names]
    more = f" and {len(known) - _MOST_NAMES} more" if len(known) > _MOST_NAMES else ""
    return ", ".join(known[:_MOST_NAMES]) + more


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return `did you mean "x"?` for the closest known name.

    Args:
        name: what was written.
        known: what exists.
        otherwise: begins the list of all known names when none is close; without it the hint is then empty.
    """
    names = {str(one): str(one) for one in known}
    lower = {one.lower(): one for one in names}
    close = difflib.get_close_matches(name[:_LONGEST].lower(), lower, n=1)
    if close:
        return f'did you mean "{lower[close[0]]}"?'
    return f"{otherwise} {listed(names)}" if otherwise and names else ""
