"""Detectors of what should not travel: each finds one kind of thing in time linear in the text.

Every pattern starts only where its run of characters starts and repeats a bounded or unambiguous piece, so that no
text makes it slow. Called by `redact`; patterns from manifests are never compiled here.
"""

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv6Address
from typing import Literal

Detector = Literal["email", "card", "iban", "ssn", "phone", "ipv4", "ipv6", "mac", "apiKey", "jwt", "privateKey"]
"""Names of the detectors, as written in a manifest."""


def find(name: Detector, text: str, put: Callable[[], str]) -> str:
    """Return the text with everything that a detector finds replaced by what `put` returns."""
    if name == "privateKey":
        return _private_keys(text, put)
    pattern, holds = _PATTERNS[name]
    return pattern.sub(lambda match: put() if holds(match[0]) else match[0], text)


def _private_keys(text: str, put: Callable[[], str]) -> str:
    """Replace PEM private keys; one without an end goes to the end of the text."""
    begin, end = "-----BEGIN ", "-----END "
    parts: list[str] = []
    at = 0
    while (start := text.find(begin, at)) >= 0:
        head = text[start : start + 80].partition("KEY-----")
        if not head[1] or "PRIVATE" not in head[0]:
            parts.append(text[at : start + len(begin)])
            at = start + len(begin)
            continue
        stop = text.find(end, start)
        close = text.find("KEY-----", stop) if stop >= 0 else -1
        parts += [text[at:start], put()]
        at = close + len("KEY-----") if close >= 0 else len(text)
    return "".join([*parts, text[at:]])


def _any(_: str) -> bool:
    return True


def _luhn(text: str) -> bool:
    """Return whether the check digit of a card number is right."""
    digits = [int(c) for c in text if c.isdigit()]
    doubled = [digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _mod97(text: str) -> bool:
    """Return whether the check digits of an IBAN are right."""
    plain = text.replace(" ", "")
    digits = "".join(str(int(c, 36)) for c in plain[4:] + plain[:4])
    return int(digits) % 97 == 1


def _octets(text: str) -> bool:
    return all(int(part) < 256 for part in text.split("."))


def _ssn(text: str) -> bool:
    """Return whether a US social security number may have been given out."""
    area, group, serial = text.split("-")
    return area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"


def _address(text: str) -> bool:
    """Return whether a text is an IPv6 address with as much in it that it is nothing else."""
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return sum(bool(part) for part in text.split(":")) > 2


_KEYS = (
    r"(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}",
    r"gh[pousr]_[A-Za-z0-9]{20,}",
    r"github_pat_[A-Za-z0-9_]{20,}",
    r"AKIA[0-9A-Z]{16}",
    r"AIza[0-9A-Za-z_-]{35}",
    r"xox[abprs]-[A-Za-z0-9-]{10,}",
)

_PATTERNS: Mapping[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "email": (
        re.compile(
            r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}",
            re.ASCII,
        ),
        _any,
    ),
    "card": (re.compile(r"(?<![\d-])(?:\d[ -]?){12,18}\d(?!\d)", re.ASCII), _luhn),
    "iban": (
        re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])"),
        _mod97,
    ),
    "phone": (re.compile(r"(?<![\w+])\+\d(?:[ .()-]{0,2}\d){7,14}(?!\d)", re.ASCII), _any),
    "ipv4": (re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w])(?!\.\d)", re.ASCII), _octets),
    "ssn": (re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])", re.ASCII), _ssn),
    "ipv6": (re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])", re.ASCII), _address),
    "mac": (re.compile(r"(?<![\w:-])[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}(?![\w:-])", re.ASCII), _any),
    "apiKey": (re.compile(rf"(?<![A-Za-z0-9_-])(?:{'|'.join(_KEYS)})"), _any),
    "jwt": (
        re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
        _any,
    ),
}
