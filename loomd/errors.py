"""The errors that a caller may catch. Their class says what to do next, their text what happened.

    LoomdError
    |-- Permanent                  the same call will fail again: change something first
    |   |-- NotFound               no such object, task, model or file
    |   |-- Conflict               somebody else holds it, or it changed since it was read
    |   |-- Stale                  another revision serves than the one that the caller has seen
    |   |-- Unauthorized           a key is missing, wrong or without permission
    |   |-- QuotaExceeded          the account has no money or quota left
    |   |-- BadReply               the other side answered with something unusable
    |   |-- ToolFailed             a tool refused its arguments or raised
    |   |-- Refused                an interceptor does not let a call pass
    |   |-- Damaged                stored data does not match its checksum
    |   |-- RecordFailed           the record of a task could not be written; the task stays unfinished
    |   |-- Diverged               a resumed task does something else than was recorded
    |   |-- Uncertain              a call was begun before an interruption; whether it had its effect is unknown
    |   `-- Problems               manifests are not valid (`loomd.manifest.problem`)
    `-- Temporary                  the same call may work later, after `retry_after` seconds when known
        |-- Unreachable            no connection, no name, reset, time-out
        `-- Overloaded             a busy service
            `-- RateLimited        too many calls or tokens for now

Every message names the object, the field or file, and the next act. Secrets never appear in one.
"""


class LoomdError(Exception):
    """Base of everything that loomd raises on purpose."""


class Permanent(LoomdError):
    """Repeating the call is pointless until something is changed."""


class NotFound(Permanent):
    """The named thing does not exist."""


class Conflict(Permanent):
    """The state is not what the caller believed, or another process holds it."""


class Stale(Permanent):
    """Another revision serves than the one that the caller has seen."""


class Unauthorized(Permanent):
    """A credential is missing, wrong, or lacks the permission."""


class QuotaExceeded(Permanent):
    """The account behind a credential is used up; retrying would only repeat the refusal."""


class BadReply(Permanent):
    """A service answered, and the answer cannot be used."""


class ToolFailed(Permanent):
    """A tool refused its arguments or raised; the text goes back to the model."""


class Refused(Permanent):
    """An interceptor does not let a call pass; the text says why, to the model or to the user."""


class Damaged(Permanent):
    """Stored data does not match its checksum, or is not ours."""


class RecordFailed(Permanent):
    """The record of a task could not be written; the task stays unfinished and goes on later.

    Attributes:
        retry_after: seconds after which it may be written; None when somebody must act first.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Diverged(Permanent):
    """A resumed task does something else than what was recorded of it."""


class Uncertain(Permanent):
    """A call was begun before an interruption and its end is not recorded: it may have had its effect.

    Attributes:
        step: key of the step that was begun, where it is known.
    """

    def __init__(self, message: str, step: str = "") -> None:
        super().__init__(message)
        self.step = step


class Temporary(LoomdError):
    """The same call may work later.

    Attributes:
        retry_after: seconds to wait, when the other side said so.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(Temporary):
    """No connection could be made, or it broke, or it took too long."""


class Overloaded(Temporary):
    """The service is there and asks to come back later."""


class RateLimited(Overloaded):
    """Too many calls or tokens in a while: the service, or a declared rate, asks for fewer."""
