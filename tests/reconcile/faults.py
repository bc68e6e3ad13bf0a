"""Makes one call of loomd's own code fail, or cancels at one await: every step of a reload is found by running it.

Nothing is listed by hand: a call site counts because it was reached, so a new step is covered by being there.
"""

import asyncio
import inspect
import sys
import threading
from collections.abc import Awaitable, Callable, Generator, Iterable
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

HERE = str(Path(__file__).parents[2] / "loomd") + "/"
"""Where the code is whose calls are counted."""


_LEAVING = frozenset(("__exit__", "__aexit__", "_seal", "gc_callback"))
"""Calls that do not fail: a lock that is not let go of would be no fault of the step, nor a digest SQLite asks for, nor
what hypothesis, once other tests have loaded it, does whenever garbage is collected."""
_GOES_ON = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
"""Flags of code whose frames are entered more than once."""


class Fault(RuntimeError):
    """What a call raises that is made to fail."""


@dataclass(frozen=True, order=True)
class Site:
    """A place that calls something: file below the package, line, and the name of what is called."""

    file: str
    line: int
    called: str

    def __str__(self) -> str:
        """Return `reconcile/stage.py:120 commit`."""
        return f"{self.file}:{self.line} {self.called}"


@dataclass
class Injector:
    """Counts call sites while it is armed, in all threads; makes the call at `target` fail once.

    Attributes:
        places: only sites in files whose path below the package begins with one of these count.
        mark: returns what is noted of each site when it is reached.
        sites: what was reached, in order, each once, with its mark.
        target: the site that fails.
        hit: whether it was reached.
    """

    places: tuple[str, ...]
    mark: Callable[[], int] = int
    sites: dict[Site, int] = field(default_factory=dict[Site, int])
    target: Site | None = None
    hit: bool = False
    _armed: bool = False
    _entered: list[FrameType] = field(default_factory=list[FrameType])
    _known: set[int] = field(default_factory=set[int])
    _files: dict[str, str] = field(default_factory=dict[str, str])

    @contextmanager
    def installed(self) -> Generator["Injector"]:
        """Watch the threads that start from now on."""
        threading.setprofile(self._heed)
        try:
            yield self
        finally:
            threading.setprofile(None)

    @contextmanager
    def armed(self, threads: Iterable[Executor], target: Site | None = None) -> Generator[None]:
        """Count, or let one site fail, here and in the only thread of each executor."""
        self.target, self.hit = target, False
        for thread in threads:  # a profile function that raises is taken away
            thread.submit(sys.setprofile, self._heed).result()
        sys.setprofile(self._heed)
        self._armed = True
        try:
            yield
        finally:
            self._armed = False
            sys.setprofile(None)  # what is not counted is as fast as ever
            self._entered.clear()
            self._known.clear()

    def _heed(self, frame: FrameType, event: str, arg: Any) -> None:
        if not self._armed:
            return
        caller: FrameType | None = frame
        if event == "call":
            if frame.f_code.co_flags & _GOES_ON:
                if id(frame) in self._known:
                    return  # a coroutine or generator that goes on: nothing is called
                self._entered.append(frame)
                self._known.add(id(frame))
            caller = frame.f_back
        elif event != "c_call":
            return
        if caller is None or not (file := self._below(caller.f_code.co_filename)):
            return
        called = frame.f_code.co_name if event == "call" else getattr(arg, "__name__", "?")
        if called in _LEAVING:
            return
        site = Site(file, caller.f_lineno, called)
        if self.target is None and site not in self.sites:
            self._armed = False  # what is called to mark it does not count
            self.sites[site] = self.mark()
            self._armed = True
        if site == self.target and not self.hit:
            self.hit = True
            raise Fault(str(site))

    def _below(self, name: str) -> str:
        """Return the path of a file below the package, or an empty string for one that does not count."""
        found = self._files.get(name)
        if found is None:
            below = name.removeprefix(HERE) if name.startswith(HERE) else ""
            found = self._files[name] = below if below.startswith(self.places) else ""
        return found


class Cancelled:
    """Awaits something, and cancels the task at the n-th time that it waits, or from then on each time.

    Attributes:
        waits: how often it waited.
    """

    def __init__(self, inner: Awaitable[T], at: int = 0, *, again: bool = False) -> None:
        self._inner = inner
        self._at = at
        self._again = again
        self.waits = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        """Pass on what the inner awaitable waits for."""
        inner = self._inner.__await__()
        task = asyncio.current_task()
        assert task is not None
        given: Any = None
        error: BaseException | None = None
        while True:
            try:
                future = inner.send(given) if error is None else inner.throw(error)
            except StopIteration as stop:
                return stop.value
            self.waits += 1
            if self.waits == self._at or (self._again and self.waits > self._at > 0):
                task.cancel()
            given = error = None
            try:
                given = yield future
            except BaseException as found:  # handed on as it is
                error = found
