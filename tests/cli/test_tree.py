"""The parts of a split in `loomd run`: on a terminal one line each that is drawn anew, elsewhere lines in order."""

import subprocess
import sys

import click
import pytest

from loomd.cli.cells import columns
from loomd.cli.tree import Tree
from loomd.events.cluster import AgentSplit, AuctionAwarded
from loomd.events.event import Event, PhaseCompleted, PhaseStarted, TaskStarted
from tests.cli.terminal import Folder, Screen

SPLIT = """\
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec:
  type: scripted
  replies:
    - {system: You split, json: {parts: [{goal: look left, needs: []}, {goal: look right, needs: [1]}]}, times: null}
    - {when: "own part:*left", delay: 300ms, text: L, times: null}
    - {when: "own part:*right", delay: 300ms, text: R, times: null}
    - {when: "Results so far", text: Both were seen., times: null}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: script}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: team}
spec: {agents: [ada], scale: {type: threshold, complexity: 0.01, maxDepth: 1}}
"""


def test_on_a_terminal_each_part_has_one_line(folder: Folder, screen: Screen) -> None:
    """It goes from waiting to done where it stands; the phases of the whole stand above, the answer below."""
    folder.write("team.yaml", SPLIT.replace("delay: 300ms", "delay: 2s"))
    screen.start(folder, "run", "manifests", "look around", "--state", "state")
    waiting = screen.until("waits")
    assert "look right" in waiting
    shown = screen.until("ended with 0")
    lines = shown.splitlines()
    parts = [line for line in lines if line.startswith(("├─", "└─"))]
    assert [line.split()[:4] for line in parts] == [["├─", "1", "done", "ada"], ["└─", "2", "done", "ada"]]
    assert sum("look left" in line for line in lines) == 1
    at = {word: next(n for n, line in enumerate(lines) if line.startswith(word)) for word in ("SCALE", "├─", "Both")}
    assert at["SCALE"] < at["├─"] < at["Both"]
    assert shown.count("Both were seen.") == 1


def test_a_daemon_that_is_away_is_told_above_the_tree(folder: Folder, screen: Screen) -> None:
    """The tree stays one, and goes on when the daemon is there again."""
    spaced = SPLIT.replace("metadata: {", "metadata: {namespace: SPACE, ").replace("delay: 300ms", "delay: 2s")
    folder.write("team.yaml", spaced)
    folder.apply()
    screen.start(folder, "submit", "-n", folder.space, "--wait", "look around")
    screen.until("execute")
    folder.daemon.kill()
    screen.until("waiting for it")
    folder.daemon.start("--config", folder.daemon.configure(watch=[]))
    lines = screen.until("ended with 0").splitlines()
    assert [line.split()[:3] for line in lines if line.startswith("├─")] == [["├─", "1", "done"]]
    away, first = (next(at for at, line in enumerate(lines) if text in line) for text in ("waiting for it", "├─"))
    assert away < first


ASKING = """\
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: pay}
spec: {type: python, file: pay.py, function: pay, approval: {required: always}}
---
""" + SPLIT.replace("{provider: script}", "{provider: script, tools: [pay]}").replace(
    '"own part:*left", delay: 300ms, text: L, times: null', '"own part:*left", toolCalls: [{name: pay}]'
).replace("R, times: null}", "R, times: null}\n    - {when: 'own part:*left', text: L, times: null}").replace(
    "[1]", "[]"
)


def test_who_is_asked_is_left_alone(folder: Folder, screen: Screen) -> None:
    """The question stays where it stands while other parts go on; the tree goes on below the answer."""
    (folder.path / "pay.py").write_text('def pay() -> str:\n    """Pay."""\n    return "paid"\n')
    folder.write("team.yaml", ASKING.replace("delay: 300ms", "delay: 1s"))
    screen.start(folder, "run", "manifests", "look around", "--state", "state")
    screen.until("Agree [y/N]:")
    screen.type("y", "Enter")
    before, _, after = screen.until("ended with 0").partition("Agree [y/N]: y\n")
    assert [text.count("├─ 1") for text in (before, after)] == [1, 1]
    assert [text.count("└─ 2") for text in (before, after)] == [1, 1]


def test_rows_stay_where_they_are() -> None:
    """When parts of parts begin, also with a number of two digits; a long name moves all rows alike."""
    tree = Tree(coloured=False)

    def columns() -> list[int]:
        return [line.index("waits") for line in tree.lines()]

    def split(task: str, *parts: str) -> None:
        tree.hear(Event(AgentSplit(parts, parts), 1.0, task))

    split("t", *(f"t.{number}" for number in range(1, 11)))
    before = set(columns())
    split("t.1", "t.1.1", "t.1.2")
    assert set(columns()) == before
    assert len(before) == 1
    tree.hear(Event(AuctionAwarded("an-agent-with-a-long-name", 1.0), 1.0, "t.2"))
    lines = tree.lines()
    assert len({line.rindex("t.") for line in lines}) == 1


def test_a_part_is_in_the_phase_after_the_last_one_that_ended() -> None:
    """Also for who comes later, and finds ends of phases alone in the journal."""
    tree = Tree(coloured=False)
    tree.hear(Event(AgentSplit(("t.1",), ("look left",)), 1.0, "t"))
    seen: list[str] = []
    for fact in (
        TaskStarted("look left", "team"),
        PhaseCompleted("sense", "simple"),
        AuctionAwarded("ada", 1.0),
        PhaseCompleted("match", "ada"),
        PhaseStarted("scale"),
        PhaseCompleted("adapt", "nothing"),
    ):
        assert tree.hear(Event(fact, 2.0, "t.1"))
        seen.append(tree.lines()[0].split()[2])
    assert seen == ["sense", "match", "match", "scale", "scale", "scale"]


def test_a_tree_stands_still_while_somebody_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """What happens meanwhile is drawn below the answer, and nothing above it is taken away."""
    tree = Tree(coloured=False)
    tree.hear(Event(AgentSplit(("t.1",), ("look left",)), 1.0, "t"))
    capsys.readouterr()
    with tree.held():
        tree.hear(Event(TaskStarted("look left", "team"), 2.0, "t.1"))
        tree.clear()
        tree.draw()
        assert capsys.readouterr().err == ""
    assert capsys.readouterr().err.split()[:3] == ["└─", "1", "sense"]


@pytest.mark.parametrize(
    ("rows", "shown"), [(24, "├─ 1|├─ 2|├─ 3|└─ 4"), (5, "├─ 1|├─ 2|... "), (3, "... "), (2, "... "), (1, "... ")]
)
def test_a_small_terminal_is_not_scrolled(
    rows: int, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What does not fit is counted."""
    monkeypatch.setenv("LINES", str(rows))
    Tree(coloured=False).hear(Event(AgentSplit(("t.1", "t.2", "t.3", "t.4"), ("a", "b", "c", "d")), 1.0, "t"))
    assert [line[:4] for line in capsys.readouterr().err.splitlines()] == shown.split("|")


def test_a_terminal_that_became_narrower_is_cleared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lines that it breaks since are as many as it makes of them, with colours or without."""
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setenv("LINES", "24")
    tree = Tree(coloured=True)
    with click.Context(click.Command("run"), color=True):
        tree.hear(Event(AgentSplit(("t.1", "t.2"), ("long " * 30, "short")), 1.0, "t"))
        long, short = (len(click.unstyle(line)) for line in capsys.readouterr().err.splitlines())
        assert long > 80 >= short > 40
        monkeypatch.setenv("COLUMNS", "40")
        tree.clear()
    assert capsys.readouterr().err == "\x1b[5A\r\x1b[J"


def test_elsewhere_lines_are_appended(folder: Folder) -> None:
    """Nothing steers a terminal that is not there; each phase of each part has its line."""
    folder.write("team.yaml", SPLIT)
    command = [sys.executable, "-m", "loomd", "run", "manifests", "look around", "--state", "state"]
    done = subprocess.run(  # noqa: S603  # our own command
        command, cwd=folder.path.parent, env=folder.daemon.environment, capture_output=True, text=True, check=True
    )
    assert "\x1b" not in done.stderr
    assert done.stdout == "Both were seen.\n"
    heads = [line.split()[:2] for line in done.stderr.splitlines()]
    assert ["1", "PART"] in heads
    assert ["2", "EXECUTE"] in heads


def test_wide_characters_take_two_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line is cut to what the terminal has room for, so that it stays one line and is drawn over; none is halved."""
    monkeypatch.setenv("COLUMNS", "61")
    tree = Tree(coloured=False)
    tree.hear(Event(AgentSplit(("t.1", "t.2"), ("看看左边的房间", "e\u0301e\u0301 left")), 1.0, "t"))
    wide, narrow = tree.lines()
    assert wide.endswith(" 看看左边的")
    assert narrow.endswith(" e\u0301e\u0301 left")
    assert columns(wide) == 60
