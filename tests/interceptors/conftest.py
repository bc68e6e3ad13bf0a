"""Opens Interceptor specs, and stands for the calls that they look at."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from loomd.agents.base import Interceptor
from loomd.messages import JsonObject, ToolCall
from loomd.testing import open_spec

Open = Callable[..., AbstractAsyncContextManager[Interceptor]]


@dataclass
class Context:
    """A call that is looked at; fits `InterceptorContext`, and keeps what interceptors do about it."""

    task: str = "t1"
    namespace: str = "default"
    agent: str = "ada"
    model: str = "script/test"
    calls: Mapping[str, int] = field(default_factory=dict[str, int])
    notes: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    terms: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])

    defaults: dict[str, object] = field(default_factory=dict[str, object])

    def effective(self, call: ToolCall) -> JsonObject:
        """Return the arguments with the defaults that the tool declares."""
        return {**self.defaults, **call.arguments}

    def note(self, action: Literal["changed", "warned", "answered"], reason: str) -> None:
        """Keep what was done."""
        self.notes.append((action, reason))

    def require_approval(self, ttl: float, on_denied: Literal["stop", "continue"]) -> None:
        """Keep that people are to be asked."""
        self.terms.append((ttl, on_denied))


@pytest.fixture
def interceptor(tmp_path: Path) -> Open:
    """Return an opener of Interceptor specs; `clock` and `live` (open things by ref) may be given."""
    return partial(open_spec, "Interceptor", folder=tmp_path)


@pytest.fixture
def context() -> Context:
    """Return a call that is looked at."""
    return Context()
