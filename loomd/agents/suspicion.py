"""Code that somebody else wrote and that runs inside a step: told to whoever counts how often the process ends there.

The engine listens while it does a step, interceptors that ask such code tell it. Without a listener nothing happens.
"""

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar

Listener = Callable[[str], AbstractAsyncContextManager[None]]
"""Returns a context in which the object of a name runs; it is on disk once the context is entered."""

_LISTENER: ContextVar[Listener | None] = ContextVar("loomd_suspicion", default=None)


@contextmanager
def listening(listener: Listener) -> Generator[None, None, None]:
    """Let a listener hear what runs in this block."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


@asynccontextmanager
async def running(name: str) -> AsyncGenerator[None, None]:
    """Say that the code of an object runs in this block.

    Args:
        name: of the object, as `Interceptor/guard`.

    Raises:
        RecordFailed: it could not be written down.
    """
    listener = _LISTENER.get()
    if listener is None:
        yield
        return
    async with listener(name):
        yield
