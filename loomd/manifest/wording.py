"""How values and fields are spoken of in problems. What may be a secret is never quoted. Called by the checks."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

HIDDEN = "(hidden)"
"""Stands for a value that may be a secret."""

_LONGEST = 60
_LONGEST_NAME = 150
_MOST_NAMES = 12
_SECRET = frozenset(
    (
        *("apikey", "auth", "authorization", "bearer", "cookie", "credential", "credentials"),
        *("key", "passphrase", "passwd", "password", "passwords", "secret", "secrets", "token"),
    )
)
_PLACE = re.compile(r"/valueFrom/(?:env|file|secretRef/(?:name|key))$")
_NAMED = re.compile(
    r"(?<=/matchExpressions)/key$|/auth(?=/user(?:name)?$)"
    r"|(?:/properties/[^/]+(?:/(?:items|additionalProperties|allOf|anyOf|oneOf))*)+"
    r"(?=/(?:type|title|description|format|pattern|enum|\$ref)$)"
)
"""What is spoken of by its name, and not kept there: the label of a selector, a user, a property of a schema."""
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_USER = re.compile(r"(?<=://)[^\s/?#@]*@")
_PARAMETER = re.compile(r"""(?<=[?&])([^\s=&#?]++)=[^\s&#"']++""")
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(?:gh[opsur]_\w{16,}"
    r"|(?:github_pat_|glpat-|hf_|npm_|xox[a-z]-)[\w-]{10,}|A[KS]IA[A-Z0-9]{12,}|AIza[\w-]{20,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY(?:.*?-----END [A-Z ]*-----|.*)",
    re.DOTALL,
)
_LONG_TOKENS = (
    re.compile(r"(?<![A-Za-z0-9])(?:sk|pk|rk)[-_](?:((?=[\w-]*[0-9])[\w-]{6,})|[\w-]*+)"),
    re.compile(r"(?<![A-Za-z0-9])eyJ(?:([\w-]{8,}+\.[\w-]{8,}(?:\.[\w-]*+)?)|[\w-]*+)"),
)
"""What is no token although it begins like one is passed over whole, since no other begins in the rest of it."""
_SCHEME = re.compile(r"\b(Bearer|Basic) +(?=\S*[0-9])[\w.~+/=-]{8,}")
_SENTENCE = re.compile(r"expected (?P<expected>.+?)(?:, (?:got|found) (?P<got>.+?))?(?:: (?P<hint>.+))?")
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters with which a text could move the cursor, clear the screen, fill the clipboard, or make what follows read
in another order than it stands; text that is written from right to left needs none of them."""
_COUNT = 1000
"""A whole number below it is no secret: `token: 5` is a misspelt field."""
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
    if is_secret(pointer) and not (isinstance(value, int) and abs(value) < _COUNT):
        return f"{_NAMES.get(type(value), 'a value')} (hidden)"
    if isinstance(value, bool):
        return "true" if value else "false"
    return quoted(value) if isinstance(value, str) else str(value)


def without_secrets(text: str) -> str:
    """Return text in which what looks like a secret is replaced by `***`.

    That is the user and the secret parameters of an address, and what has the form of a well-known token.
    """
    text = _USER.sub("***@", text)
    for pattern in _LONG_TOKENS:
        text = pattern.sub(lambda found: "***" if found[1] else found[0], text)
    text = _SCHEME.sub(r"\1 ***", _TOKEN.sub("***", text))
    return _PARAMETER.sub(lambda found: f"{found[1]}=***" if is_secret(found[1]) else found[0], text)


def is_hidden(pointer: str) -> bool:
    """Return whether a text at a JSON pointer is not shown: a name on the way to it says that it may be a secret.

    The place that holds a secret is none, and neither are the label of a selector, a user and a property of a schema.
    """
    return not _PLACE.search(pointer) and is_secret(_NAMED.sub("", pointer))


def masked(value: Any, pointer: str = "") -> Any:
    """Return a JSON value without what may be a secret: every text that `is_hidden`, and passwords in addresses.

    Whatever shows a manifest, a plan or an event shows it through this.

    Args:
        value: a decoded JSON value.
        pointer: its JSON pointer; the items of a list have that of the list.
    """
    if isinstance(value, Mapping):
        return {key: masked(one, f"{pointer}/{escape(str(key))}") for key, one in value.items()}
    if isinstance(value, list):
        return [masked(one, pointer) for one in value]
    if isinstance(value, str):
        return HIDDEN if is_hidden(pointer) else without_secrets(value)
    return value


def inert(text: str) -> str:
    """Return text in which what steers a terminal or turns the order of reading is spelled out; lines and tabs stay."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def visible(text: str) -> str:
    """Return text on one line, in which characters that break it, hide or steer a terminal are written as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def quoted(text: str) -> str:
    """Return text in double quotes: on one line, short, without control characters, and without secrets."""
    text = without_secrets(text)
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
    return f'"{visible(short)}"'


def escape(key: str) -> str:
    """Return a key as a segment of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1") if "~" in key or "/" in key else key


def dotted(pointer: str) -> str:
    """Return a JSON pointer as people write it: `/spec/tools/0` -> `spec.tools[0]`."""
    text = ""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        text += f"[{name}]" if name.isdigit() else f".{name}" if text else name
    return text


def listed(names: Iterable[Any]) -> str:
    """Return names as `a, b, c`, at most a dozen."""
    known = list(names)
    more = f" and {len(known) - _MOST_NAMES} more" if len(known) > _MOST_NAMES else ""
    return ", ".join(str(name) for name in known[:_MOST_NAMES]) + more


class Sentence(NamedTuple):
    """What is wrong with a value, in the parts that a problem has."""

    message: str
    hint: str = ""
    expected: str = ""
    got: str = ""


def read_sentence(text: str, found: str = "") -> Sentence:
    """Return the parts of `expected A, got B: next act`; any other text is a message as a whole.

    Args:
        text: the sentence, whose B and next act may be missing.
        found: what was found, for a sentence that does not say it.
    """
    parts = _SENTENCE.fullmatch(text)
    if parts is None:
        return Sentence(text, got=found)
    expected, given = parts["expected"], parts["got"] or found
    message = f"expected {expected}, got {given}" if given else f"expected {expected}"
    return Sentence(message, parts["hint"] or "", expected, given)


def one_line(text: str) -> str:
    """Return a name as a message shows it: on one line, cut to a readable length."""
    short = text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 3] + "..."
    return visible(without_secrets(short))


def closest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is spelled almost like one, or an empty string."""
    lower = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name[:_LONGEST].lower(), lower, n=1)
    return lower[close[0]] if close else ""


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return `did you mean "x"?` for the closest known name.

    Args:
        name: what was written.
        known: what exists.
        otherwise: begins the list of all known names when none is close; without it the hint is then empty.
    """
    names = [*dict.fromkeys(str(one) for one in known)]
    if meant := closest(name, names):
        return f'did you mean "{meant}"?'
    return f"{otherwise} {listed(names)}" if otherwise and names else ""
