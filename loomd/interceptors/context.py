"""What an interceptor may know of the call that it looks at, and do about it beside changing or refusing it.

Made by the agent; only its shape is here.
"""

from collections.abc import Mapping
from typing import Literal, Protocol

from loomd.messages import JsonObject, ToolCall

Moment = Literal["beforeRun", "afterRun", "beforeModel", "afterModel", "beforeTool", "afterTool"]
"""When an interceptor is asked: around an agent's whole work, each model call, and each tool call."""

Action = Literal["changed", "warned", "answered"]
"""What an interceptor says of itself that it did."""


class InterceptorContext(Protocol):
    """Where a call comes from. What is noted becomes an event of the task."""

    @property
    def task(self) -> str:
        """Return the id of the task."""
        ...

    @property
    def namespace(self) -> str:
        """Return the namespace of the task."""
        ...

    @property
    def agent(self) -> str:
        """Return the name of the agent."""
        ...

    @property
    def model(self) -> str:
        """Return `provider/model` of a model call, or an empty string."""
        ...

    @property
    def calls(self) -> Mapping[str, int]:
        """Return how often each tool was called in this work, a tool call that is looked at included."""
        ...

    def effective(self, call: ToolCall) -> JsonObject:
        """Return the arguments of a call as its tool takes them: those left out have the defaults that it declares."""
        ...

    def note(self, action: Action, reason: str) -> None:
        """Note what was done about the call, and why."""
        ...

    def require_approval(self, ttl: float, on_denied: Literal["stop", "continue"]) -> None:
        """Let people be asked before the tool call is made, with the arguments that it has in the end.

        Args:
            ttl: seconds after which a question that nobody answered counts as denied.
            on_denied: whether the work ends then, or the model is told.
        """
        ...
