"""Errors as JSON, in both directions: what the server says and what the client raises again.

`{"error": {"type": "NotFound", "message": "...", "problems": [...]}}`; the type is the class's name.
"""

from typing import cast

from loomd import errors
from loomd.errors import LoomdError, Permanent, Temporary
from loomd.manifest.problem import Problem, Problems


class BadRequest(Permanent):
    """The request itself is not what the route expects: no JSON, a wrong type, an unknown parameter."""


_STATUS: dict[type[LoomdError], int] = {
    BadRequest: 400,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Stale: 412,
    errors.Temporary: 503,
    errors.Damaged: 500,
    errors.RecordFailed: 500,
}

_CLASSES: dict[str, type[LoomdError]] = {
    name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, LoomdError)
}


def status_of(error: LoomdError) -> int:
    """Return the HTTP status of an error: 422 for all that the caller must change and that has none of its own."""
    return next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 422)


def to_json(error: LoomdError) -> dict[str, object]:
    """Return the body for an error."""
    body: dict[str, object] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, Temporary) and error.retry_after is not None:
        body["retryAfter"] = error.retry_after
    if isinstance(error, Problems):
        body["problems"] = [problem.to_json() for problem in error.problems]
    return {"error": body}


def from_json(body: object, status: int) -> LoomdError:
    """Return the error that a body stands for."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return Permanent(f"the daemon answered with status {status} and no explanation")
    said = cast("dict[str, object]", error)
    problems = said.get("problems")
    if isinstance(problems, list):
        return Problems(Problem.from_json(item) for item in cast("list[dict[str, object]]", problems))
    kind = _CLASSES.get(str(said.get("type")), Permanent)
    message = str(said.get("message"))
    if issubclass(kind, Temporary):
        after = said.get("retryAfter")
        return kind(message, float(after) if isinstance(after, int | float) else None)
    return kind(message)
