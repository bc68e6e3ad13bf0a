"""What a function in a process of its own has of the context of its call. Made by `loomd.tools.python_child`."""

from collections.abc import Mapping

from loomd.errors import ToolFailed
from loomd.tools.context import TOLD, ToolContext, attribute


class SentContext:
    """What can be sent to a process of where a call comes from; the rest of `ToolContext` lives in the daemon.

    Args:
        sent: values by name.
    """

    def __init__(self, sent: Mapping[str, object]) -> None:
        self.__dict__.update(sent)

    def __getattr__(self, name: str) -> object:
        if name in vars(ToolContext):
            known = f"{', '.join(TOLD)} and metadata"
            raise ToolFailed(
                f"context.{name} lives in the daemon, a function with a sandbox has {known} of its context"
            )
        return attribute(self.__dict__.get("metadata", {}), name)
