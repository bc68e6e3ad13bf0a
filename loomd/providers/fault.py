"""What a remote service's failure means: one typed error for every status, error object and broken answer.

The text names the provider, what came back and the next act; secrets that a service echoes are masked by the caller.
Called by `remote` and by the translations; never decides whether to try again.
"""

import math
import re
from collections.abc import Mapping

from loomd.errors import (
    BadReply,
    LoomdError,
    NotFound,
    Overloaded,
    Permanent,
    QuotaExceeded,
    RateLimited,
    Unauthorized,
)
from loomd.manifest.wording import without_secrets

_LONGEST_WAIT = 7 * 86400.0
_QUOTA = ("insufficient_quota", "billing", "credit balance", "quota exceeded", "exceeded your current quota")
_LIMITED = ("rate_limit", "rate limit", "resource_exhausted")
_A_MINUTE = ("perminute", "per minute")
_A_DAY = ("perday", "per day")
"""How Google names its limits (`GenerateRequestsPerDayPerProjectPerModel`); it calls both a quota that is exceeded."""
_NONE = re.compile(r"limit: 0\b(?!\.)|'quotavalue': '0'")
"""A limit that leaves nothing: the model is not in what the account pays for."""
_DELAY = re.compile(r"retrydelay\W+(\d+(?:\.\d+)?)s\b")
_NO_KEY = ("api_key_invalid", "api key not valid")
_TOO_LONG = (
    "context_length_exceeded",
    "context length",
    "context window",
    "prompt is too long",
    "request_too_large",
    "exceeds the maximum number of tokens",
)
_OVERLOADED = ("overloaded", "unavailable", "server_error", "api_error", "timeout")
_DENIED = ("authentication", "permission", "invalid_api_key")


def from_status(owner: str, status: int, headers: Mapping[str, str], body: object, now: float) -> LoomdError:
    """Return the error for an HTTP status.

    Args:
        owner: `Provider/name`, for the message.
        status: HTTP status, any but 200.
        headers: of the response; `Retry-After` is honoured.
        body: decoded body, or its text, for the reason.
        now: wall-clock seconds, for a `Retry-After` that is a date.
    """
    reason = reason_of(body)
    said = f"{owner}: HTTP {status}{': ' if reason else ''}{reason}"
    if status == 402 or (status in (400, 403, 429) and _mentions(body, _QUOTA) and not _passes(body)):
        return _used_up(said, body)
    if status in (401, 403) or (status == 400 and _mentions(body, _NO_KEY)):
        return Unauthorized(f"{said}: check spec.apiKey and what the key may do")
    if 300 <= status < 400:
        place = headers.get("location", "another place")
        return Permanent(f"{said}: it moved to {place}, and no key is sent there unasked: set spec.baseUrl")
    if status == 404:
        return NotFound(f"{said}: check spec.model and spec.baseUrl")
    if status == 429:
        asked = retry_after(headers, now)
        return RateLimited(said, _delay(body) if asked is None else asked)
    if status in (408, 409, 425) or status >= 500:
        return Overloaded(said, retry_after(headers, now))
    return _refused(said, status, body)


def from_error_object(owner: str, error: object, now: float) -> LoomdError:
    """Return the error for an error object, or a list of them, that came with status 200 or inside a stream."""
    error = first(error)
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, int) and 400 <= code < 600:
        return from_status(owner, code, {}, error, now)
    said = f"{owner}: the answer is an error: {reason_of(error) or 'no reason given'}"
    if _mentions(error, _QUOTA) and not _passes(error):
        return _used_up(said, error)
    if _mentions(error, _DENIED):
        return Unauthorized(f"{said}: check spec.apiKey and what the key may do")
    if _mentions(error, _LIMITED):
        return RateLimited(said, _delay(error))
    if _mentions(error, _OVERLOADED):
        return Overloaded(said)
    return _refused(said, 413, error) if _mentions(error, _TOO_LONG) else BadReply(said)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return how many seconds a service asks to wait, from `retry-after-ms` or `Retry-After` (seconds or a date)."""
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return min(milliseconds / 1000, _LONGEST_WAIT)
    text = headers.get("retry-after", "")
    seconds = _number(text)
    if seconds is None and text:
        from email.utils import parsedate_to_datetime  # noqa: PLC0415  # 5 ms that validation need not pay

        try:
            seconds = parsedate_to_datetime(text).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return None if seconds is None else min(max(seconds, 0.0), _LONGEST_WAIT)


def reason_of(body: object) -> str:
    """Return the readable reason inside an error body, at most 300 characters on one line."""
    body = first(body)
    for _ in range(3):
        if not isinstance(body, dict):
            break
        body = next((body[key] for key in ("error", "message", "detail", "code", "type") if body.get(key)), "")
    text = without_secrets(" ".join(str(body or "").split()))
    return text if len(text) <= 300 else f"{text[:300]}..."


def first(body: object) -> object:
    """Return the error that a list of errors begins with, as Google sends one; anything else as it is."""
    found = body[0] if isinstance(body, list) and body else body
    error = found.get("error") if isinstance(found, dict) and isinstance(body, list) else None
    return body if error is None else error


def _refused(said: str, status: int, body: object) -> Permanent:
    """Return the error for a request that the service does not take, and what helps when it is too long."""
    if status == 413 or (status in (400, 422) and _mentions(body, _TOO_LONG)):
        return Permanent(f"{said}: set spec.contextWindow to what the model takes, so that prompts are fitted into it")
    return Permanent(said)


def _used_up(said: str, body: object) -> QuotaExceeded:
    if _mentions(body, _A_DAY) and not _NONE.search(_lower(body)):
        return QuotaExceeded(f"{said}: that is the quota of a day: wait for the next one, or use another key or model")
    return QuotaExceeded(f"{said}: add credit to the account or use another key")


def _passes(body: object) -> bool:
    """Return whether what is exceeded is a limit of a minute, and nothing that lasts."""
    return _mentions(body, _A_MINUTE) and not _mentions(body, _A_DAY) and not _NONE.search(_lower(body))


def _delay(body: object) -> float | None:
    """Return how many seconds Google asks to wait, which it says in the body; None when it does not."""
    found = _DELAY.search(_lower(body))
    return None if found is None else min(float(found[1]), _LONGEST_WAIT)


def _mentions(body: object, marks: tuple[str, ...]) -> bool:
    text = _lower(body)
    return any(mark in text for mark in marks)


def _lower(body: object) -> str:
    return str(body)[:10_000].lower()


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
