"""chat in tmux and in a pipe, with the daemon and without: answers as they come, calls, questions, keys."""

import pytest

from tests.cli.terminal import Folder, Screen

CLERK = """\
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: talker, namespace: SPACE}
spec:
  type: scripted
  replies:
    - {when: rain, text: "It rains in Paris.", chunks: 4, delay: 200ms, times: null}
    - {when: write, times: 1, text: "Let me note it.", toolCalls: [{name: note, arguments: {text: hello}}]}
    - {when: write, text: "Noted it.", times: null}
    - {when: hang, times: 1, text: "Let me look.", toolCalls: [{name: look}]}
    - {when: hang, delay: 1h, text: late, times: null}
    - {when: wipe, text: "a\\x1b[2Jb\\x1b]52;c;ZXZpbA==\\x07c", times: null}
    - {when: fail, error: permanent, text: the account is closed, times: null}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: note, namespace: SPACE}
spec: {type: python, file: note.py, function: note, effects: write, approval: {required: always, onDenied: continue}}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: look, namespace: SPACE}
spec: {type: python, file: note.py, function: look, effects: read}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: clerk, namespace: SPACE}
spec: {provider: talker, tools: [note, look]}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: desk, namespace: SPACE}
spec: {agents: [clerk]}
"""
NOTE = '''
from pathlib import Path

def note(text: str) -> str:
    """Notes a text."""
    with (Path(__file__).parent / "noted").open("a") as file:
        file.write(text)
    return "it is noted"

def look() -> str:
    """Looks."""
    return "nothing there"
'''


@pytest.fixture
def desk(folder: Folder) -> Folder:
    """Return a folder with an agent that takes notes, applied."""
    (folder.path / "team.yaml").unlink()
    folder.write("clerk.yaml", CLERK)
    (folder.path / "note.py").write_text(NOTE)
    folder.apply()
    return folder


@pytest.mark.parametrize("where", [(), ("-f", "manifests", "--state", "state")], ids=["daemon", "folder"])
def test_a_conversation_in_tmux(desk: Folder, screen: Screen, where: tuple[str, ...]) -> None:
    """Answers stream, calls are shown, a question is asked in place, Ctrl-C ends an answer and Ctrl-D the talk."""
    screen.start(desk, "chat", "clerk", "-n", desk.space, *where)
    screen.until("You talk with clerk")
    screen.type("does it rain", "Enter")
    screen.until("It rains in Paris.\n>")
    screen.type("/new", "Enter")
    screen.until("a new conversation")
    screen.type("write it", "Enter")
    assert "Let me note it." in screen.until('note({"text":"hello"}): call it?')
    assert not (desk.path / "noted").exists()
    screen.type("y", "Enter")
    assert "note -> it is noted" in screen.until("Noted it.\n>")
    assert (desk.path / "noted").read_text() == "hello"
    screen.type("/new", "Enter")
    screen.type("hang", "Enter")
    screen.until("look -> nothing there")
    screen.type("C-c")
    screen.until("stopped\n>")
    screen.type("/usage", "Enter")
    screen.until("tokens in")
    screen.type("/wrong", "Enter")
    screen.until("there is no command /wrong")
    screen.type("C-d")
    screen.until("ended with 1")  # the last turn was stopped


def test_a_conversation_goes_on(desk: Folder, screen: Screen) -> None:
    """Turns are those of one session, which is named at the end and can be gone on with."""
    screen.start(desk, "chat", "clerk", "-n", desk.space)
    screen.until("You talk with clerk")
    for turn in ("does it rain", "and will it rain"):
        screen.type(turn, "Enter")
        screen.until(f"{turn}\nIt rains in Paris.\n>")
    screen.type("C-d")
    shown = screen.until("ended with 0")
    (session,) = desk.daemon.client.get("namespaces", desk.space, "sessions")["items"]
    name = session["metadata"]["name"]
    assert f"loomd chat clerk --session {name}" in shown
    assert session["status"]["turns"] == 2
    desk.process("chat", "clerk", "-n", desk.space, "--session", name, stdin="does it rain\n")
    (session,) = desk.daemon.client.get("namespaces", desk.space, "sessions")["items"]
    assert session["status"]["turns"] == 3


def test_a_denial_is_told_with_its_reason(desk: Folder, screen: Screen) -> None:
    """What is typed instead of yes or no is why not; the model hears it."""
    screen.start(desk, "chat", "clerk", "-n", desk.space)
    screen.until("You talk with clerk")
    screen.type("write it", "Enter")
    screen.until("agree?")
    screen.type("not on a Monday", "Enter")
    assert "not on a Monday" in screen.until("Noted it.\n>")
    assert not (desk.path / "noted").exists()
    items = desk.daemon.client.get("namespaces", desk.space, "approvals")["items"]
    assert [(one["status"]["phase"], one["status"]["reason"]) for one in items] == [("Denied", "not on a Monday")]
    screen.type("C-d")
    screen.until("ended with 0")


@pytest.mark.parametrize("key", ["C-c", "C-d"])
def test_a_question_can_be_left(desk: Folder, screen: Screen, key: str) -> None:
    """Ctrl-C and Ctrl-D at a question end the turn, not the conversation; nothing is called."""
    screen.start(desk, "chat", "clerk", "-n", desk.space)
    screen.until("You talk with clerk")
    screen.type("write it", "Enter")
    screen.until("agree?")
    screen.type(key)
    screen.until("stopped\n>")
    screen.type("/new ../talk", "Enter")
    screen.until("session: expected up to 200 letters")
    screen.type("does it rain", "Enter")
    screen.until("It rains in Paris.\n>")
    assert not (desk.path / "noted").exists()
    (stopped, answered) = desk.daemon.client.get("namespaces", desk.space, "tasks")["items"][::-1]
    assert [stopped["status"]["phase"], answered["status"]["phase"]] == ["Cancelled", "Succeeded"]
    screen.type("C-d")
    screen.until("ended with 0")


def test_lines_of_a_pipe_are_turns(desk: Folder) -> None:
    """Without a terminal only answers are printed; nobody is asked; the exit code is that of the last turn."""
    ran = desk.process("chat", "clerk", "-n", desk.space, stdin="does it rain\n\n/agent clrk\n/new\nwrite it\n")
    assert (ran.returncode, ran.stdout.splitlines()) == (0, ["It rains in Paris.", "Noted it."]), ran.stderr
    assert 'there is no agent "clrk": did you mean "clerk"?; you talk with clerk as before' in ran.stderr
    assert not (desk.path / "noted").exists()
    failed = desk.process("chat", "clerk", "-n", desk.space, stdin="fail\n")
    assert failed.returncode == 1
    assert "the account is closed" in failed.stderr


def test_no_answer_moves_the_terminal(desk: Folder, screen: Screen) -> None:
    """Control characters of an answer are spelled out: nothing is cleared, and no clipboard is filled."""
    screen.start(desk, "chat", "clerk", "-n", desk.space)
    screen.until("You talk with clerk")
    screen.type("wipe", "Enter")
    shown = screen.until(r"a\x1b[2Jb\x1b]52;c;ZXZpbA==\x07c")
    assert "You talk with clerk" in shown


def test_what_cannot_be_talked_with_is_told(desk: Folder) -> None:
    """An agent that is not there, and a daemon that is not there."""
    ran = desk.process("chat", "clark", "-n", desk.space, stdin="does it rain\n")
    assert ran.returncode == 1
    assert f'there is no agent "clark" in namespace "{desk.space}": did you mean "clerk"?' in ran.stderr
    away = desk.process("chat", "clerk", "--socket", "nowhere.sock", stdin="does it rain\n")
    assert away.returncode == 2
    assert "no daemon at" in away.stderr
