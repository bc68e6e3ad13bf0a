"""Requests that nobody sends by mistake: each is answered with an error or cut off, and the daemon serves on."""

import logging

import pytest

from loomd.api.client import Client
from loomd.daemon import System
from tests.api.talk import AGENT, TEAM, apply, ask, say, send

PREFIX = "/apis/loomd.dev/v1"
JSON = {"Content-Type": "application/json"}


async def unharmed(system: System, caplog: pytest.LogCaptureFixture) -> bool:
    """Return whether the daemon still answers, and nothing was an unexpected fault."""
    faults = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert faults == []
    return (await say(system, "GET", "/readyz")).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        f"{PREFIX}/../../../etc/passwd",
        f"{PREFIX}/namespaces/../agents/ada",
        f"{PREFIX}/namespaces/%2e%2e/agents/ada",
        f"{PREFIX}/namespaces/default/agents/%2e%2e",
        f"{PREFIX}/namespaces/default/agents/..%2f..%2fetc%2fpasswd",
        f"{PREFIX}/namespaces/default/agents/ada%00",
        f"{PREFIX}/namespaces/default/agents/%ff%fe",
        f"{PREFIX}/namespaces/default/agents/ada/",
        f"{PREFIX}/namespaces/default//ada",
        f"{PREFIX}/namespaces//agents/ada",
        f"{PREFIX}//agents",
        f"{PREFIX}/agents;x=1",
        f"{PREFIX}/namespaces/default/all/ada",
        f"{PREFIX}/namespaces/default/Agents/ada",
        f"{PREFIX}/namespaces/default/agents/ada%0d%0aX-Evil:1",
        f"{PREFIX}/sources/..%2f..%2fetc",
        f"{PREFIX}/sources/%ff",
        f"{PREFIX}/rollout/history/%2e%2e",
        f"{PREFIX}/namespaces/default/tasks/..%2f..",
        f"{PREFIX}/namespaces/default/tasks/%00",
        f"{PREFIX}/namespaces/default/tasks/%ed%a0%80",
        "/" + "a" * 7000,
        "/" + "a/" * 3000,
        "/%",
        "/%zz",
    ],
)
async def test_no_path_leads_elsewhere(
    client: Client, system: System, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """Whatever a path is spelt like, it names something of the API or nothing; no file is ever meant."""
    await apply(client, TEAM)
    answer = await say(system, "GET", path)
    assert answer.status in {400, 404}, answer.text
    assert answer.error["message"]
    assert "root:" not in answer.text
    assert await unharmed(system, caplog)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("agents?watch=maybe", 400),
        ("agents?watch=1&watch=0&labelSelector=%ff", 400),
        ("agents?labelSelector=a%00", 400),
        ("agents?name=%ff", 200),
        ("tasks?unfinished=x", 400),
        ("/v1/events?after=-1", 400),
        ("/v1/events?after=%C2%B2", 400),
        ("/v1/events?after=" + "9" * 5000, 400),
        ("/v1/events?after=9223372036854775808", 400),
        ("/v1/events?after=9223372036854775807", 200),
        ("/v1/events?after=x&follow=1", 400),
        ("/v1/events?follow=maybe", 400),
        ("/v1/events?task=%ff%00", 200),
        ("/readyz?verbose=" + "a" * 7000, 200),
    ],
)
async def test_parameters(
    client: Client, system: System, caplog: pytest.LogCaptureFixture, path: str, status: int
) -> None:
    """A parameter that is not what it should be is status 400 and names itself."""
    await apply(client, TEAM)
    answer = await say(system, "GET", path)
    assert answer.status == status, answer.text
    assert await unharmed(system, caplog)


BODIES = {
    "empty": b"",
    "half": b'{"source": "/m", "roo',
    "no-utf8": b'{"source": "\xff\xfe", "root": "/m", "files": []}',
    "utf16": '{"source": "/m", "root": "/m", "files": []}'.encode("utf-16"),
    "bom": b'\xef\xbb\xbf{"source": "/m", "root": "/m", "files": []}',
    "surrogate": b'{"source": "\\ud800x", "root": "/m", "files": []}',
    "nan": b'{"expected": NaN}',
    "infinite": b'{"expected": 1e999}',
    "huge-number": b'{"source": "/m", "root": "/m", "files": [], "expected": ' + b"9" * 100_000 + b"}",
    "deep": b"[" * 200_000,
    "deep-object": b'{"a":' * 100_000,
    "deep-field": b'{"source": "/m", "root": "/m", "files": ' + b"[" * 200_000,
    "string": b'"text"',
    "number": b"7",
    "null": b"null",
    "two": b"{}{}",
    "trailing": b'{"source": "/m", "root": "/m", "files": []} x',
    "wrong-types": b'{"source": [], "root": {}, "files": "x", "dryRun": "1"}',
    "form": b"a=1&b=2",
    "binary": bytes(range(256)) * 10,
}
WRITES = [
    ("POST", "apply"),
    ("POST", "plan"),
    ("POST", "delete"),
    ("POST", "rollout/undo"),
    ("POST", "namespaces/default/tasks"),
    ("PUT", AGENT),
]


@pytest.mark.parametrize(("method", "path"), WRITES, ids=[path.rpartition("/")[2] for _, path in WRITES])
async def test_bodies(client: Client, system: System, caplog: pytest.LogCaptureFixture, method: str, path: str) -> None:
    """A body that is no JSON of the right shape is refused by every route, and changes nothing."""
    await apply(client, TEAM)
    for name, body in BODIES.items():
        answer = await say(system, method, path, body, JSON)
        assert answer.status in {400, 404, 422}, (name, answer.text)
        assert answer.error["message"], name
        assert system.reconciler.number == 1, name
        assert await unharmed(system, caplog), name


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"root": "/m\x00"}, 400),
        ({"root": "/" + "x" * 100_000}, 400),
        ({"source": "/m\x00\n\x1b[31m"}, 400),
        ({"source": ""}, 400),
        ({"manager": "a\nb"}, 400),
        ({"revision": "\x1b[31m"}, 400),
        ({"files": [{"path": "a\x00b.yaml", "text": TEAM}]}, 400),
        ({"files": [{"path": "a\nb.yaml", "text": TEAM}]}, 400),
        ({"files": [{"path": "", "text": TEAM}]}, 400),
        ({"files": [{"path": "y/" * 50_000, "text": TEAM}]}, 400),
        ({"root": "/../../etc", "files": [{"path": "passwd", "text": TEAM}]}, 200),
        ({"root": "/proc/self", "files": [{"path": "environ", "text": TEAM}]}, 200),
    ],
)
async def test_names_are_only_names(
    system: System, caplog: pytest.LogCaptureFixture, changed: dict[str, object], status: int
) -> None:
    """What a body calls its files opens none of them, and a name with control characters is none."""
    body = {"source": "/m", "root": "/m", "files": [{"path": "a.yaml", "text": TEAM}], **changed}
    answer = await say(system, "POST", "apply", body)
    assert answer.status == status, answer.text
    if status == 200:
        assert {one["action"] for one in answer.json["changes"]} == {"created"}
    assert await unharmed(system, caplog)


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"PUT " + AGENT.encode() + b" HTTP/1.0\r\nHost: localhost\r\nIf-Match: \xff,\r\n\r\n",
        b"POST " + AGENT.encode() + b" HTTP/1.0\r\nContent-Encoding: \xff\r\nContent-Length: 1\r\n\r\nx",
        b"POST " + AGENT.encode() + b" HTTP/1.0\r\nContent-Type: \xff/x\r\nContent-Length: 1\r\n\r\nx",
        b"GET /v1/events HTTP/1.0\r\nHost: localhost\r\nLast-Event-ID: \xff\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX\x00: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a-secret-\x01-canary\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET http://evil.example/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET ../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nExpect: the-unexpected\r\nConnection: close\r\n\r\n",
    ],
)
async def test_what_is_hardly_http(system: System, caplog: pytest.LogCaptureFixture, data: bytes) -> None:
    """Bytes that are no sound request are answered with an error or not at all; the log repeats nothing of them."""
    caplog.set_level(logging.INFO)
    got = await ask(send, system, data + b"GET /nothing HTTP/1.0\r\n\r\n")
    assert got == b"" or got.split()[1][:1] in {b"4", b"5"}, got
    assert b"root:" not in got
    assert "canary" not in caplog.text
    assert await unharmed(system, caplog)
