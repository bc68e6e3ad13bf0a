"""A task on a terminal and in a pipe: standard output holds the answer, once."""

import logging
import sys

import pytest

from loomd.agents.work import Citation, Outcome
from loomd.amoeba.task import Executed, Result, Task
from loomd.cli.once import logged
from loomd.cli.show import Show
from loomd.events.bus import Bus, Scope
from loomd.events.cluster import AgentSplit
from loomd.events.event import ModelCalled, ModelDelta, TaskFailed, TaskStarted, ToolCompleted
from loomd.messages import Usage
from loomd.testing import VirtualClock
from tests.cli.terminal import TerminalStream

CALLED = ModelCalled("m", Usage(), 0.0, 0.0)


def ended(text: str) -> Result:
    """Return the result of a task with this answer."""
    outcome = Outcome(text, "completed", citations=(Citation(1, "a.md:1-2"),))
    return Result(Task("t1", "g"), "Succeeded", executed=Executed(outcome))


def watch(show: Show) -> None:
    """Show a task that calls a tool, has a part, and answers."""
    bus = Bus(VirtualClock())
    bus.subscribe(show.hear)
    scope = Scope(bus, "t1")
    scope.emit(TaskStarted("g", "team"))
    for fact in (ModelDelta("Let me see"), CALLED, ToolCompleted("look", "c1", "seen", 0.0)):
        scope.emit(fact)
    Scope(bus, "t1.1", "t1").emit(ModelDelta("of a part"))
    for fact in (ModelDelta("It is "), ModelDelta("42 [1]."), CALLED):
        scope.emit(fact)


@pytest.mark.parametrize("quiet", [False, True], ids=["shown", "quiet"])
def test_a_pipe_gets_the_answer_alone(quiet: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither pieces nor what a model said before it called a tool are on standard output."""
    show = Show(quiet=quiet)
    watch(show)
    assert capsys.readouterr().out == ""
    assert show.finish(ended("It is 42 [1].")) == 0
    assert capsys.readouterr().out == "It is 42 [1].\n\nSources\n  [1] a.md:1-2\n"


@pytest.mark.parametrize(
    ("answer", "again"), [("It is 42 [1].", ""), ("Merged.", "Merged.\n")], ids=["streamed", "another"]
)
def test_a_terminal_streams_and_repeats_nothing(
    answer: str, again: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal the text comes in pieces, interim text on a line of its own; another answer is printed whole."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show = Show()
    watch(show)
    show.finish(ended(answer))
    said = capsys.readouterr()
    assert said.out == f"Let me see\nIt is 42 [1].\n{again}\nSources\n  [1] a.md:1-2\n"
    assert "look -> seen" in said.err


def test_a_failure_is_said_beside_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    """Without an answer nothing is on standard output, and the exit code is 1."""
    assert Show().finish(Result(Task("t1", "g"), "Failed", error="no model")) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "error: no model\n")


@pytest.mark.parametrize(("encoding", "drawn"), [("utf-8", True), ("latin-1", False)])
def test_a_tree_is_drawn_where_there_are_characters_for_it(
    encoding: str, drawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere parts are told in lines, as in a pipe: escapes in the place of branches would take many columns."""
    terminal = TerminalStream(encoding)
    monkeypatch.setattr(sys, "stderr", terminal)
    bus = Bus(VirtualClock())
    bus.subscribe(Show().hear)
    Scope(bus, "t1").emit(TaskStarted("g", "team"))
    Scope(bus, "t1").emit(AgentSplit(("t1.1", "t1.2"), ("look left", "look right")))
    terminal.flush()
    shown = terminal.written.getvalue().decode(encoding)
    assert ("└─ 2" in shown, "2. look right" in shown) == (drawn, not drawn)


def test_each_attempt_has_a_tree_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tree of the first stays as it stands when the next one begins."""
    terminal = TerminalStream()
    monkeypatch.setattr(sys, "stderr", terminal)
    bus = Bus(VirtualClock())
    bus.subscribe(Show().hear)
    for task, after in (("t1", "t1-2"), ("t1-2", "")):
        Scope(bus, task).emit(TaskStarted("g", "team"))
        Scope(bus, task).emit(AgentSplit((f"{task}.1", f"{task}.2"), ("look left", "look right")))
        Scope(bus, task).emit(TaskFailed("error", "no light", retried=after))
    terminal.flush()
    first, _, second = terminal.written.getvalue().decode().rpartition("TASK")
    assert [text.rpartition("FAILED")[2].count("look ") for text in (first, second)] == [2, 2]
    assert "\x1b[4A" not in second


def test_what_is_logged_stands_above_the_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it: drawn anew, the tree would take away the lines below it."""
    terminal = TerminalStream()
    monkeypatch.setattr(sys, "stderr", terminal)
    bus, show = Bus(VirtualClock()), Show()
    bus.subscribe(show.hear)
    Scope(bus, "t1").emit(TaskStarted("g", "team"))
    Scope(bus, "t1").emit(AgentSplit(("t1.1", "t1.2"), ("look left", "look right")))
    with logged(show):
        logging.getLogger("loomd.test").warning("careful\nnow")
    terminal.flush()
    _, _, after = terminal.written.getvalue().decode().rpartition("\x1b[2A\r\x1b[J")
    assert [line.split()[0] for line in after.splitlines()] == ["careful", "now", "├─", "└─"]


def test_a_goal_of_several_lines_takes_one(capsys: pytest.CaptureFixture[str]) -> None:
    """A part that was put together from several has a line for each; shown like this the lines stay a list."""
    bus = Bus(VirtualClock())
    bus.subscribe(Show().hear)
    Scope(bus, "t1").emit(TaskStarted("look\naround", "team"))
    Scope(bus, "t1").emit(AgentSplit(("t1.1", "t1.2"), ("look left", "look right\nlook up")))
    Scope(bus, "t1.2", "t1").emit(TaskStarted("look right\nlook up", "team"))
    lines = [line.split(maxsplit=1)[1] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["look around", "into 2 parts", "look left", "look right look up", "PART      look right look up"]
