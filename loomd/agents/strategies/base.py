"""What a strategy is: a spec that puts a conversation into the form that a model understands, and reads its replies.

The loop keeps the conversation in one form, whatever the strategy: assistant turns with tool calls, and tool turns with
their results. Pure, so that a task that is resumed or replayed says the same again.
"""

from abc import abstractmethod
from typing import ClassVar

from loomd.manifest.kind import Spec
from loomd.messages import Reply, Request


class Unreadable(ValueError):
    """A reply does not keep to the form; the text is for the model.

    Attributes:
        said: the reply as it is.
    """

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


class Strategy(Spec):
    """How an agent asks its model to use tools, and reads what the model says."""

    streams: ClassVar[bool] = True
    """Whether the pieces of a reply are pieces of the answer, so that they may be shown as they come."""

    @abstractmethod
    def phrase(self, request: Request) -> Request:
        """Return a request in the form in which the model gets it."""

    @abstractmethod
    def read(self, reply: Reply, request: Request, number: int) -> Reply:
        """Return a reply with its tool calls, or with the answer as its text.

        Args:
            reply: what the model said.
            request: what was asked, before it was phrased.
            number: ordinal of the model call, for ids that are the same when the task is resumed.

        Raises:
            Unreadable: it has neither; never of a request without tools, which has any text for an answer.
        """
