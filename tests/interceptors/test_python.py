"""Interceptors in Python."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from loomd.errors import BadReply, Permanent, Refused
from loomd.messages import Message, Reply, Request, ToolCall

ALL = ["beforeRun", "afterRun", "beforeModel", "afterModel", "beforeTool", "afterTool"]
CODE = """
import json

from loomd.errors import Refused

SEEN = []

def look(call):
    SEEN.append(call)
    match call["moment"]:
        case "beforeRun":
            return {"goal": call["goal"].upper()}
        case "beforeModel":
            return {"messages": [*call["messages"], {"role": "user", "text": str(call["tools"])}]}
        case "afterModel":
            return {"text": call["text"] + "!"}
        case "beforeTool":
            if call["arguments"].get("to") == "all":
                raise Refused("not to all")
            return {"arguments": {**call["arguments"], "cc": call["agent"]}}
        case "afterTool":
            return {"result": f"{call['tool']}: {call['result']}"}

async def later(call):
    raise Refused("always")

def wrong(call):
    return {"gaol": "x"}

async def foreign(call):
    known = {"role": "assistant", "text": "x", "tool_calls": [{"id": "c", "name": "n", "arguments": {}}]}
    turns = {
        "content": {"role": "user", "content": "x"},
        "args": {**known, "tool_calls": [{"id": "c", "name": "n", "args": {}}]},
    }
    return {"messages": [turns[call["messages"][0]["text"]]]}

def conversation(call):
    return {"messages": json.loads(call["messages"][0]["text"])}

def exits(call):
    raise SystemExit(3)

VALUE = 1
"""


@pytest.fixture
def code(tmp_path: Path) -> dict[str, Any]:
    """Return a spec whose file is there."""
    (tmp_path / "hook.py").write_text(CODE)
    return {"type": "python", "file": "hook.py", "function": "look", "at": ALL}


async def test_what_a_function_changes(interceptor: Any, context: Any, code: dict[str, Any]) -> None:
    """It is told of every call, and what it returns is put in place."""
    call = ToolCall("c", "send", {"to": "ann"})
    async with interceptor(code) as live:
        assert await live.before_run("go", context) == "GO"
        sent = await live.before_model(Request((Message("user", "hi"),)), context)
        assert sent.messages == (Message("user", "hi"), Message("user", "[]"))
        assert await live.after_model(sent, Reply("hi", (call,), model="m"), context) == Reply(
            "hi!", (call,), model="m"
        )
        assert (await live.before_tool(call, context)).arguments == {"to": "ann", "cc": "ada"}
        assert await live.after_tool(call, "sent", context) == "send: sent"
        assert await live.after_run("hi!", context) == "hi!"
        with pytest.raises(Refused, match="not to all"):
            await live.before_tool(ToolCall("c", "send", {"to": "all"}), context)


async def test_a_coroutine_is_awaited(interceptor: Any, context: Any, code: dict[str, Any]) -> None:
    """What it refuses is refused."""
    async with interceptor({**code, "function": "later"}) as live:
        with pytest.raises(Refused, match="always"):
            await live.before_run("go", context)


async def test_what_a_function_may_not_do(interceptor: Any, context: Any, code: dict[str, Any]) -> None:
    """An answer with other fields is a failure, and so is an attempt to end the process."""
    async with interceptor({**code, "function": "wrong"}) as live:
        with pytest.raises(BadReply, match="no mapping of goal"):
            await live.before_run("go", context)
    async with interceptor({**code, "function": "foreign"}) as live:
        for text, said in (("content", "unknown field `content`"), ("args", "unknown field `args`")):
            with pytest.raises(BadReply, match=said):
                await live.before_model(Request((Message("user", text),)), context)
    async with interceptor({**code, "function": "exits"}) as live:
        with pytest.raises(Permanent, match="SystemExit: 3"):
            await live.before_run("go", context)


SYSTEM: dict[str, Any] = {"role": "system", "text": "s"}
USER: dict[str, Any] = {"role": "user", "text": "u"}
CALL: dict[str, Any] = {"role": "assistant", "tool_calls": [{"id": "c", "name": "n", "arguments": {}}]}
ANSWER: dict[str, Any] = {"role": "tool", "text": "r", "call_id": "c"}


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        pytest.param([SYSTEM, USER, CALL, ANSWER, USER], "", id="whole"),
        pytest.param([CALL, ANSWER, CALL, ANSWER], "", id="same-name-again"),
        pytest.param([], "there are none", id="none"),
        pytest.param([USER, SYSTEM], "messages[1] is a system turn", id="late-system"),
        pytest.param([USER, ANSWER], "messages[1] answers the call 'c'", id="no-call"),
        pytest.param([CALL, ANSWER, ANSWER], "messages[2] answers the call 'c'", id="two-answers"),
        pytest.param([CALL, USER, ANSWER], "the call 'c' has no answer", id="answer-too-late"),
        pytest.param([USER, CALL], "the call 'c' has no answer", id="no-answer"),
    ],
)
async def test_messages_are_a_conversation(
    interceptor: Any, context: Any, code: dict[str, Any], messages: list[dict[str, Any]], said: str
) -> None:
    """What no service takes is a failure of the interceptor, and is not sent."""
    request = Request((Message("user", json.dumps(messages)),))
    async with interceptor({**code, "function": "conversation"}) as live:
        if said:
            with pytest.raises(BadReply, match=re.escape(f"messages that are no conversation: {said}")):
                await live.before_model(request, context)
        else:
            sent = await live.before_model(request, context)
            assert [one.role for one in sent.messages] == [one["role"] for one in messages]


async def test_a_file_that_cannot_be_run(interceptor: Any, tmp_path: Path, code: dict[str, Any]) -> None:
    """The failure names the object and the field."""
    (tmp_path / "hook.py").write_text("raise OSError('no')\ndef look(call): pass\n")
    with pytest.raises(Permanent, match=r"Interceptor/it spec\.file: .*OSError: no"):
        async with interceptor(code):
            pass
