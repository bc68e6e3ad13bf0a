import time
from typing import Any

import pytest

from loomd.errors import Unauthorized
from loomd.interceptors.detector import find
from loomd.messages import Message, Passage, Reply, Request, Thought, ToolCall

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("email", "write to ada.l+x@mail.example.org.", "write to #."),
        ("email", "a@b and @handle", "a@b and @handle"),
        ("card", "pay 4111 1111 1111 1111 now", "pay # now"),
        ("card", "4111-1111-1111-1111", "#"),
        ("card", "order 4111111111111112", "order 4111111111111112"),
        ("iban", "to DE89 3704 0044 0532 0130 00.", "to #."),
        ("iban", "to GB82WEST12345698765432", "to #"),
        ("iban", "to DE00 3704 0044 0532 0130 00", "to DE00 3704 0044 0532 0130 00"),
        ("phone", "call +49 (30) 901820-0", "call #"),
        ("phone", "1 + 2 = 3", "1 + 2 = 3"),
        ("ssn", "his is 123-45-6789.", "his is #."),
        ("ssn", "not 000-45-6789, 123-45-67890 or 987-65-4321", "not 000-45-6789, 123-45-67890 or 987-65-4321"),
        ("ipv6", "from 2001:db8::8a2e:370:7334, not 12:30:45 or a::b", "from #, not 12:30:45 or a::b"),
        ("mac", "on 00:1A:2b:3c:4d:5e or 00-1a-2b-3c-4d-5e", "on # or #"),
        ("ipv4", "from 10.0.0.1, not 1.2.3.4.5 or 300.1.1.1", "from #, not 1.2.3.4.5 or 300.1.1.1"),
        ("apiKey", "use sk-proj-abcdefghij0123456789", "use #"),
        ("apiKey", "AKIAABCDEFGHIJKLMNOP ghp_abcdefghijklmnopqrstuvwxyz", "# #"),
        ("apiKey", "task-force and risk-management-department", "task-force and risk-management-department"),
        ("jwt", f"Bearer {JWT}", "Bearer #"),
        ("privateKey", f"a\n{PEM}\nb", "a\n#\nb"),
        ("privateKey", "a -----BEGIN PRIVATE KEY-----\nMII", "a #"),
        ("privateKey", "-----BEGIN CERTIFICATE-----\nMII", "-----BEGIN CERTIFICATE-----\nMII"),
    ],
)
def test_detectors(name: Any, text: str, expected: str) -> None:
    """Each detector finds its kind of thing and leaves alone what only looks like it."""
    assert find(name, text, lambda: "#") == expected


@pytest.mark.parametrize(
    "name", ["email", "card", "iban", "ssn", "phone", "ipv4", "ipv6", "mac", "apiKey", "jwt", "privateKey"]
)
@pytest.mark.parametrize(
    "piece",
    [
        *("a", "1", "1 ", "1-", "a.", "a@", "a@a.", "1.", "A1", "DE89 ", "+1", "+1 ()", "eyJ", "eyJaaaaaaaa."),
        *(
            "sk-",
            "-----BEGIN ",
            "-----BEGIN PRIVATE KEY-----",
            "AKIA",
            "xoxb-",
            ".",
            ":",
            "a:",
            "aa:",
            "123-",
            "123-45-",
        ),
    ],
)
def test_detectors_are_linear(name: Any, piece: str) -> None:
    """No text of 200,000 characters keeps a detector busy for long."""
    text = (piece * 200_000)[:200_000]
    started = time.process_time()
    find(name, text, lambda: "#")
    assert time.process_time() - started < 1


async def test_every_text_of_a_request(interceptor: Any, context: Any) -> None:
    """Turns, passages and the arguments of earlier calls are redacted."""
    call = ToolCall("c", "send", {"to": "a@b.org", "deep": [{"x": "a@b.org"}], "n": 1})
    request = Request(
        (
            Message("user", "a@b.org", passages=(Passage(1, "by a@b.org", "s.md:1"),)),
            Message("assistant", tool_calls=(call,)),
            Message("tool", "sent to a@b.org", call_id="c"),
        )
    )
    async with interceptor({"type": "redact", "mask": "#"}) as live:
        sent = await live.before_model(request, context)
        assert await live.before_tool(call, context) == call
    assert sent.messages == (
        Message("user", "#", passages=(Passage(1, "by #", "s.md:1"),)),
        Message("assistant", tool_calls=(ToolCall("c", "send", {"to": "#", "deep": [{"x": "#"}], "n": 1}),)),
        Message("tool", "sent to #", call_id="c"),
    )


async def test_replies_and_results(interceptor: Any, context: Any) -> None:
    """Replies with their reasoning and tool results are redacted; calls when asked for."""
    spec = {"type": "redact", "mask": "#", "places": ["replies", "toolResults", "toolCalls"]}
    call = ToolCall("c", "send", {"to": "a@b.org"})
    request = Request((Message("user", "a@b.org"),))
    async with interceptor(spec) as live:
        thoughts = (Thought("a@b.org?", signature="s"), Thought("hm", signature="t"))
        hidden = (Thought("#?"), Thought("hm", signature="t"))  # what was changed is no longer what was signed
        said = await live.after_model(request, Reply("to a@b.org", thoughts=thoughts), context)
        assert said == Reply("to #", thoughts=hidden)
        assert await live.after_tool(call, "sent to a@b.org", context) == "sent to #"
        assert (await live.before_tool(call, context)).arguments == {"to": "#"}
        assert await live.before_model(request, context) == request


async def test_words_and_secrets(interceptor: Any, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words are literal and match in any case; a secret's value is replaced wherever it stands."""
    monkeypatch.setenv("CANARY", "s3cr3t+value")
    spec = {
        "type": "redact",
        "detectors": [],
        "words": ["Project X", "Project X-ray", "a.c"],
        "secrets": [{"valueFrom": {"env": "CANARY"}}],
    }
    async with interceptor(spec) as live:
        reply = await live.after_model(Request(()), Reply("project x-ray, PROJECT X, a.c, abc, s3cr3t+value"), context)
    assert reply.text == "[redacted], [redacted], [redacted], abc, [redacted]"


async def test_a_missing_secret(interceptor: Any) -> None:
    """A secret that is not there is an error, because it could not be found in a text."""
    with pytest.raises(Unauthorized, match=r"Interceptor/it spec\.secrets\[0\]"):
        async with interceptor({"type": "redact", "secrets": [{"valueFrom": {"env": "GONE"}}]}):
            pass


async def test_arguments_of_a_call_are_redacted_where_the_reply_is_recorded(interceptor: Any, context: Any) -> None:
    """A reply is recorded whole, so the arguments in it are redacted before the tool is."""
    spec = {"type": "redact", "detectors": ["email"], "places": ["toolCalls"]}
    async with interceptor(spec) as it:
        call = ToolCall("c1", "send", {"to": ["ann@example.com"], "n": 1})
        reply = await it.after_model(Request(()), Reply("write to ann@example.com", (call,)), context)
    assert reply.tool_calls[0].arguments == {"to": ["[redacted]"], "n": 1}
    assert reply.text == "write to ann@example.com"
