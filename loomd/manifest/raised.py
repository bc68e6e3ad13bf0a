"""What code that manifests name may raise inside the process, and what becomes of it: a failure of that one call.

`KeyboardInterrupt` and `SystemExit` would end the event loop, and a cancellation that nobody asked for would leave a
task without an end. Called by whoever runs such code: the tools, the interceptors of agents, and what loads files.
"""

from collections.abc import Callable

from loomd.errors import Permanent


def is_cancelled() -> bool:
    """Return whether somebody asked the running asyncio task to end; one that only raised so was not asked."""
    from asyncio import current_task  # noqa: PLC0415  # verbs that only look at manifests have no event loop

    current = current_task()
    return current is not None and current.cancelling() > 0


def words_of(error: BaseException) -> str:
    """Return an error with its type, in words: without what looks like a secret, and nothing that steers a terminal."""
    from loomd.manifest.wording import inert, without_secrets  # noqa: PLC0415  # a call that ends well needs neither

    text = inert(without_secrets(str(error)))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def raise_within(error: BaseException, kind: type[Exception]) -> None:
    """Raise the first failure of a kind that an error is, or that is inside a group of failures."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            raise_within(one, kind)
    if isinstance(error, kind):
        raise error


def call_in_thread(function: Callable[..., object], *values: object, **named: object) -> object:
    """Call a function in a thread, or a process; what would end it or confuse the event loop becomes a failure.

    Raises:
        Permanent: in the place of whatever is no `Exception`, of `StopIteration`, and of a cancellation.
    """
    from concurrent.futures import CancelledError  # noqa: PLC0415  # a process that calls one function needs none

    try:
        return function(*values, **named)
    except (StopIteration, CancelledError) as error:  # a future takes them for something of its own
        raise Permanent(words_of(error)) from error
    except Exception:
        raise
    except BaseException as error:
        raise Permanent(words_of(error)) from error
