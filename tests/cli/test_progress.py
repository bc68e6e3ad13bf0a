"""What is said while the daemon works for longer than a second."""

import signal
import socket
import subprocess
import sys
import time

from tests.cli.terminal import Folder, Terminal
from tests.daemon.process import PATIENCE

TOOL = """\
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: look, namespace: SPACE}
spec: {type: python, file: look.py, function: look}
"""
REPOSITORY = """\
apiVersion: loomd.dev/v1
kind: GitSource
metadata: {name: team, namespace: SPACE}
spec: {url: "http://127.0.0.1:PORT/team.git"}
"""
SLOW = """\
import pathlib, time

def look() -> str:
    \"\"\"Look.\"\"\"
    return ""

HERE = pathlib.Path(__file__).parent
while not (HERE / "open").exists():
    (HERE / "opening").touch()
    time.sleep(0.02)
"""


def slow(folder: Folder) -> None:
    """Let the next apply take until a file is there."""
    (folder.path / "look.py").write_text(SLOW)
    folder.write("tool.yaml", TOOL)


def test_a_terminal_counts_and_cleans_up(folder: Folder) -> None:
    """On a terminal one line counts the seconds, and is gone when the answer is there."""
    slow(folder)
    terminal = Terminal(folder, "apply", "-f", "manifests")
    terminal.until("applying ... 2s")
    (folder.path / "open").touch()
    assert terminal.end() == 0
    lines = terminal.text.split("\r\x1b[K")
    assert lines[1] == "applying ... 1s"
    assert "created" in lines[-1]
    assert "applying" not in lines[-1]


def test_elsewhere_it_is_a_plain_line(folder: Folder) -> None:
    """In a pipe it is said once, on standard error, without anything that steers a terminal."""
    slow(folder)
    with start(folder) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "applying ... 1s\n"
        (folder.path / "open").touch()
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert err == ""
    assert out.count(" created\n") == 4


def test_what_is_quick_says_nothing(folder: Folder) -> None:
    """Within a second nothing is said."""
    began = time.monotonic()
    ran = folder.process("apply", "-f", "manifests")
    assert ran.returncode == 0
    assert ran.stderr == "" or time.monotonic() - began > 1


def test_an_interrupt_does_not_stop_the_daemon(folder: Folder) -> None:
    """Ctrl-C ends the verb with 130 and says that the daemon goes on; it does."""
    slow(folder)
    with start(folder) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "the daemon may have taken it, and goes on: loomd rollout status tells what serves" in err
    (folder.path / "open").touch()
    assert folder.said("wait", "tool/look", "-n", folder.space, "--for", "create").endswith("created\n")


def test_an_interrupted_wait_says_that_it_was_taken(folder: Folder) -> None:
    """Ctrl-C while `apply --wait` waits says that what was applied serves, ready or not."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        folder.write("git.yaml", REPOSITORY.replace("PORT", str(port)))
        with start(folder, "--wait") as process:
            silent.accept()[0].close()
            assert process.stdout is not None
            while "GitSource" not in process.stdout.readline():
                pass
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=PATIENCE)
        folder.said("delete", "gitsource/team", "-n", folder.space)
    assert process.returncode == 130
    assert "the daemon has taken it: loomd rollout status tells how far it is" in err


def start(folder: Folder, *more: str) -> "subprocess.Popen[str]":
    """Apply in a process of its own."""
    return subprocess.Popen(  # noqa: S603  # our own command
        [sys.executable, "-m", "loomd", "apply", "-f", "manifests", *more],
        env=folder.daemon.environment,
        cwd=folder.path.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
