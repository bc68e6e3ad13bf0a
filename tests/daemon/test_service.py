"""A daemon and a model service in another process: a breaker with one probe, and tokens a minute."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.daemon.process import Daemon

MANIFESTS = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: service}
spec:
  type: openai
  model: m
  baseUrl: http://127.0.0.1:PORT/v1
  stream: false
  retry: {attempts: 1}
  MORE
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: service, description: Answers everything., maxTokens: 1000}
"""


class Service(ThreadingHTTPServer):
    """A model service that does as it is told.

    Attributes:
        calls: how many came.
        status: what it answers with.
        tokens: what it says that a call took.
        go: answers wait until it is set.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.calls = 0
        self.status = 200
        self.tokens = 10
        self.go = threading.Event()
        self.go.set()
        self.lock = threading.Lock()

    @property
    def port(self) -> int:
        """Return its port."""
        return int(self.server_address[1])


class Answering(BaseHTTPRequestHandler):
    """One call of the service."""

    @property
    def service(self) -> Service:
        """Return the service that it belongs to."""
        assert isinstance(self.server, Service)
        return self.server

    def do_POST(self) -> None:
        """Answer once that is wanted."""
        self.rfile.read(int(self.headers["Content-Length"]))
        service = self.service
        with service.lock:
            service.calls += 1
        service.go.wait(20)
        usage = {"prompt_tokens": service.tokens - 1, "completion_tokens": 1, "total_tokens": service.tokens}
        message = {"role": "assistant", "content": "It is 42."}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body: dict[str, Any] = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "usage": usage}
        body = body | {"choices": [choice]} if service.status == 200 else {"error": {"message": "out of order"}}
        text = json.dumps(body).encode()
        self.send_response(service.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in the base
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[Service]:
    """Return a service that runs."""
    with Service() as service:
        thread = threading.Thread(target=service.serve_forever)
        thread.start()
        yield service
        service.go.set()
        service.shutdown()
        thread.join()


def condition(daemon: Daemon) -> str:
    """Return what `describe` says of the provider."""
    return daemon.loomd("describe", "provider/service").stdout


def submit(daemon: Daemon, goal: str = "go") -> str:
    """Hand a task in and return its id."""
    return str(daemon.client.post("namespaces", "default", "tasks", body={"goal": goal})["id"])


def ended(daemon: Daemon, task: str) -> dict[str, Any]:
    """Return a task once it has ended."""
    return daemon.client.get("namespaces", "default", "tasks", task, wait="1")


def error_of(task: dict[str, Any]) -> str:
    """Return why a task failed."""
    return f"{task['status']['phase']}: {task['status'].get('error', '')}"


def test_one_probe_decides_whether_a_service_is_called_again(daemon: Daemon, service: Service) -> None:
    """After two failures nothing reaches it; after the cool-down one call does, and its answer lets all pass."""
    daemon.write(MANIFESTS.replace("PORT", str(service.port)).replace("MORE", "breaker: {failures: 2, cooldown: 8s}"))
    service.status = 503
    daemon.start()
    assert [error_of(ended(daemon, submit(daemon))) for _ in range(2)] == [
        "Failed: Provider/service: HTTP 503: out of order"
    ] * 2
    refused = error_of(ended(daemon, submit(daemon)))
    assert refused.startswith(
        "Failed: Provider/service is not called: its last 2 calls failed (HTTP 503: out of order)"
    )
    assert service.calls == 2
    told = " ".join(condition(daemon).split())
    assert "HTTP 503: out of order; after 2 failures in a row no call is made for 8 s, then one" in told
    service.status = 200
    service.go.clear()
    over = time.monotonic() + 8
    daemon.until(lambda: time.monotonic() > over)
    probe = submit(daemon)
    daemon.until(lambda: service.calls == 3)
    beside = [ended(daemon, submit(daemon)) for _ in range(3)]
    assert all("one call is asking whether it works again" in error_of(one) for one in beside)
    assert service.calls == 3
    service.go.set()
    assert ended(daemon, probe)["status"]["phase"] == "Succeeded"
    assert [ended(daemon, submit(daemon))["status"]["phase"] for _ in range(2)] == ["Succeeded", "Succeeded"]
    assert service.calls == 5
    assert "the last call was answered" in condition(daemon)
    events = daemon.loomd("events", "-o", "json").stdout
    failed = [line for line in events.splitlines() if '"task.failed"' in line]
    assert len(failed) == 6
    assert sum("one call is asking whether it works again" in line for line in failed) == 3


def test_tokens_a_minute_are_those_that_the_service_reports(daemon: Daemon, service: Service) -> None:
    """A small answer gives back what was set aside for it; a large one lets the next call wait, and fail in time."""
    more = "deadline: 8s\n  rate: {tokens: 3000}"
    daemon.write(MANIFESTS.replace("PORT", str(service.port)).replace("MORE", more))
    daemon.start()
    service.tokens = 10
    assert [ended(daemon, submit(daemon))["status"]["phase"] for _ in range(6)] == ["Succeeded"] * 6
    service.tokens = 2900
    assert ended(daemon, submit(daemon))["status"]["phase"] == "Succeeded"
    assert service.calls == 7
    refused = error_of(ended(daemon, submit(daemon)))
    assert "no place within spec.deadline, the next one is in" in refused
    assert "see spec.rate" in refused
    assert service.calls == 7
    assert "the last call was answered" in condition(daemon)  # the service works, whatever it is not asked
    assert "no place within spec.deadline" in daemon.loomd("events", "-o", "json").stdout
