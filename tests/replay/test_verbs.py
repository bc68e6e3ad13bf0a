"""`loomd export` and `loomd replay`, with a daemon, a web service that answers for the model, and without either."""

import json
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from loomd.cassette import read
from loomd.cli.main import run
from tests.daemon.process import Daemon
from tests.providers.speech import delta, sse

CANARY = "canary-7f3a91"
TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: remote}
spec: {type: openai, model: small, baseUrl: "URL", apiKey: {valueFrom: {env: REMOTE_KEY}}}
---
apiVersion: loomd.dev/v1
kind: Interceptor
metadata: {name: private}
spec: {type: redact, secrets: [{valueFrom: {env: DESK_SECRET}}]}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: late-fee}
spec: {type: python, file: fees.py, function: late_fee, effects: read}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: cashier}
spec: {provider: remote, prompt: Be exact., tools: [late-fee], interceptors: [private]}
"""
FEES = 'def late_fee(days: int) -> str:\n    """Compute what a late book costs."""\n    return f"{days * 0.2:.2f}"\n'


class _Answers(BaseHTTPRequestHandler):
    """Asks for the tool first, and answers with its result."""

    def do_POST(self) -> None:
        """Answer a chat completion as a stream."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        result = next((one["content"] for one in body["messages"] if one["role"] == "tool"), None)
        if result is None:
            function = {"name": "late-fee", "arguments": '{"days": 12}'}
            events: list[Any] = [delta(tool_calls=[{"index": 0, "id": "c1", "type": "function", "function": function}])]
            events.append(delta("tool_calls"))
        else:
            events = [delta(content=f"It costs {result} euros."), delta("stop")]
        data = sse(*events)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name that it has there
        """Say nothing."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Generator[Daemon, None, None]:
    """Yield a daemon whose agent asks a web service on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    made = Daemon(tmp_path_factory.mktemp("desk"))
    made.environment |= {"REMOTE_KEY": "sk-remote-123456", "DESK_SECRET": CANARY}
    made.write(TEAM.replace("URL", f"http://127.0.0.1:{server.server_address[1]}/v1"))
    (made.folder / "fees.py").write_text(FEES)
    try:
        made.start()
        yield made
    finally:
        made.kill()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def taped(daemon: Daemon) -> Path:
    """Return the cassette of a task that the daemon ran; the model and the daemon are gone after it."""
    task = daemon.loomd("submit", f"What does a book cost, 12 days late? I am {CANARY}").stdout.strip()
    assert daemon.loomd("wait", f"task/{task}", "--for", "phase=Succeeded", "--timeout", "20s").returncode == 0
    path = daemon.home / "late.json"
    ran = daemon.loomd("export", f"task/{task}", "-o", str(path))
    assert ran.returncode == 0, ran.stderr
    assert daemon.stop() == 0
    return path


class Verb:
    """Runs verbs in this process and tells what they said."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Return exit code, output and errors."""
        code = run(arguments)
        said = self._capsys.readouterr()
        return code, said.out, said.err


@pytest.fixture
def loomd(daemon: Daemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verb:
    """Return what runs a verb with the environment of the daemon, without the key of the service."""
    for name in ("LOOMD_STATE", "LOOMD_SOCKET", "DESK_SECRET"):
        monkeypatch.setenv(name, daemon.environment[name])
    return Verb(capsys)


def test_a_cassette_is_the_same_wherever_it_is_made(daemon: Daemon, taped: Path, loomd: Verb) -> None:
    """From the daemon and from the state directory that it left; no secret is in it, and the answer is."""
    text = taped.read_text()
    assert loomd("export", read(taped).task, "--state", str(daemon.home / "state")) == (0, text, "")
    assert CANARY not in text
    assert "sk-remote" not in text
    assert '"answer": "It costs 2.40 euros."' in text
    assert '"text": "What does a book cost, 12 days late? I am ***"' in text


def test_it_runs_again_without_daemon_and_service(daemon: Daemon, taped: Path, loomd: Verb) -> None:
    """With the manifests in it, and against the folder; exit code 0."""
    same = f"{taped}: same (3 steps)\n"
    assert loomd("replay", str(taped)) == (0, same, "")
    assert loomd("replay", str(taped), str(taped), "--against", str(daemon.folder)) == (0, same * 2, "")
    _, said, _ = loomd("replay", str(taped), "-o", "json")
    found = {"file": str(taped), "task": read(taped).task, "outcome": "same", "steps": 3}
    assert json.loads(said) == {"replays": [found]}


def test_a_changed_prompt_is_exit_code_3(daemon: Daemon, taped: Path, tmp_path: Path, loomd: Verb) -> None:
    """The difference is shown, as text and as JSON; a process ends with that code, too."""
    (tmp_path / "fees.py").write_text(FEES)
    changed = (daemon.folder / "team.yaml").read_text().replace("Be exact.", "Be kind.")
    (tmp_path / "team.yaml").write_text(changed)
    ran = daemon.loomd("replay", str(taped), "--against", str(tmp_path))
    assert ran.returncode == 3
    assert "differs at execute/model/0" in ran.stdout
    assert "    - Be exact.\n    + Be kind.\n" in ran.stdout
    code, said, _ = loomd("replay", str(taped), "--against", str(tmp_path), "-o", "json")
    assert code == 3
    (found,) = json.loads(said)["replays"]
    assert found["difference"]["diff"] == ["message 1 (system):", "- Be exact.", "+ Be kind."]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(["replay"], 2, "Missing argument", id="nothing to replay"),
        pytest.param(["replay", "none.json"], 2, "does not exist", id="no such cassette"),
        pytest.param(["replay", "HOME/manifests/team.yaml"], 1, "is no cassette", id="a manifest"),
        pytest.param(["replay", "TAPE", "--against", "HOME/state"], 2, "no manifests", id="an empty folder"),
        pytest.param(["export", "agents/a", "--state", "HOME/state"], 2, "expected a task", id="no task"),
        pytest.param(["export", "t1", "--state", "HOME/state"], 2, "no task 't1'", id="an unknown task"),
        pytest.param(["export", "t1", "--state", "HOME/manifests"], 2, "no state directory", id="no state"),
        pytest.param(["export", "t1"], 2, "daemon", id="no daemon"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str], code: int, said: str, daemon: Daemon, taped: Path, loomd: Verb
) -> None:
    """The exit code tells usage from failure."""
    spelled = [one.replace("HOME", str(daemon.home)).replace("TAPE", str(taped)) for one in arguments]
    ended, _, errors = loomd(*spelled)
    assert (ended, said in errors) == (code, True), errors
