"""What evaluators are given in tests, and models that answer as they are told."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from loomd.amoeba.asking import Answer, Asking
from loomd.amoeba.expect import hold
from loomd.amoeba.leaning import Bias, Leaning
from loomd.amoeba.policies.base import Case
from loomd.amoeba.question import Question
from loomd.amoeba.task import Executed, Task

T = TypeVar("T")
TASK = Task("t1", "What is a generator?")


class Mute(Asking):
    """Lets nobody ask a model."""

    def __init__(self) -> None:
        """Belong to no task."""

    async def ask(self, question: Question[T]) -> Answer[T]:
        """Fail the test."""
        raise AssertionError(f"a model is asked: {question.system}")


class Telling(Asking):
    """Answers questions with texts, one after the other and then the last one again, and keeps what was asked."""

    def __init__(self, *texts: str) -> None:
        """Take what is answered; an empty text is a model that is away."""
        self.texts: Sequence[str] = texts
        self.asked: list[tuple[str, str]] = []
        self.fallbacks: list[str] = []

    async def ask(self, question: Question[T]) -> Answer[T]:
        """Return the next answer, or why it cannot be used."""
        self.asked.append((question.system, question.content(TASK.goal)))
        text = self.texts[min(len(self.asked), len(self.texts)) - 1]
        try:
            return Answer(question.read(text))
        except ValueError as error:
            self.fallbacks.append(question.fallback)
            return Answer(None, str(error))


class Known:
    """The biases of judges, in memory."""

    def __init__(self) -> None:
        """Know nothing."""
        self.biases: dict[str, Bias] = {}

    def bias(self, judge: str) -> Bias:
        """Return what is known of a judge."""
        return self.biases.get(judge, Bias())

    def lean(self, judge: str, error: float, pace: float) -> Bias:
        """Take an error over."""
        self.biases[judge] = self.bias(judge).moved(error, pace)
        return self.biases[judge]


class Unkept:
    """A record that keeps nothing."""

    def draw(self, key: str, name: str, take: Callable[[], T], result: type[T]) -> T:
        """Return what is taken."""
        del key, name, result
        return take()


MUTE = Mute()


def case(executed: Executed, task: Task = TASK, known: Known | None = None) -> Case:
    """Return what is judged."""
    outcome = executed.outcome
    met = hold(task.expect, outcome.output, cites=bool(outcome.citations))
    return Case(task, executed, met, Leaning(known or Known(), Unkept()))
