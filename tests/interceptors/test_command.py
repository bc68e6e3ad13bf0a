"""Interceptors that are programs."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from loomd.errors import BadReply, Permanent, Refused
from loomd.messages import ToolCall

CALL = ToolCall("c", "send", {"to": "ann"})


def script(text: str, **more: Any) -> dict[str, Any]:
    """Return a spec that runs a program in Python."""
    head = "import json, os, sys, time; call = json.load(sys.stdin); "
    return {"type": "command", "argv": ["python3", "-c", head + text], "at": ["beforeTool"], **more}


async def test_a_program_changes_a_call(interceptor: Any, context: Any) -> None:
    """It gets the call as JSON; what it prints is put in place, and nothing printed changes nothing."""
    text = 'print(json.dumps({"arguments": {**call["arguments"], "by": call["agent"], "was": call["tool"]}}))'
    async with interceptor(script(text)) as live:
        assert (await live.before_tool(CALL, context)).arguments == {"to": "ann", "by": "ada", "was": "send"}
    async with interceptor(script("pass")) as live:
        assert await live.before_tool(CALL, context) == CALL


async def test_two_refuses(interceptor: Any, context: Any) -> None:
    """Standard error is the reason."""
    async with interceptor(script('sys.stderr.write("not to ann\\n"); sys.exit(2)')) as live:
        with pytest.raises(Refused, match=r"^not to ann$"):
            await live.before_tool(CALL, context)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('sys.exit("broken")', "code 1: broken"),
        ("os.kill(os.getpid(), 9)", "signal 9"),
        ('print("yes")', "no JSON"),
        ('print("[" * 3000)', "nested too deeply"),
        ('sys.stdout.buffer.write(b"\\xff")', "no JSON"),
        ('print("[1]")', "no mapping of arguments"),
        ('print("x" * 5000)', "more than 4096 bytes"),
    ],
)
async def test_anything_else_is_a_failure(interceptor: Any, context: Any, text: str, said: str) -> None:
    """Other codes, signals, no JSON and too much of it."""
    async with interceptor(script(text, maxOutput="4Ki")) as live:
        with pytest.raises(BadReply, match=said):
            await live.before_tool(CALL, context)


async def test_a_program_that_does_not_read(interceptor: Any, context: Any) -> None:
    """A large call may be left unread."""
    big = ToolCall("c", "send", {"body": "x" * 500_000})
    async with interceptor({"type": "command", "argv": ["true"], "at": ["beforeTool"]}) as live:
        assert await live.before_tool(big, context) == big


async def test_no_secret_of_the_daemon_reaches_it(
    interceptor: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the environment it gets the PATH, the language and the time zone."""
    monkeypatch.setenv("CANARY_KEY", "s3cr3t")
    monkeypatch.setenv("USER", "ada")
    async with interceptor(script('print(json.dumps({"arguments": {"env": sorted(os.environ)}}))')) as live:
        names: Any = (await live.before_tool(CALL, context)).arguments["env"]
    assert "PATH" in names
    assert not {"CANARY_KEY", "HOME", "USER"} & set(names)


async def test_what_it_started_ends_with_it(interceptor: Any, context: Any, tmp_path: Path) -> None:
    """Given up while it runs, the program is ended with its children."""
    pipe = tmp_path / "pids"
    os.mkfifo(pipe)
    text = f'child = os.fork(); child and open({str(pipe)!r}, "w").write(str(child)); time.sleep(600)'
    async with interceptor(script(text)) as live:
        looking = asyncio.ensure_future(live.before_tool(CALL, context))
        child = int(await asyncio.to_thread(pipe.read_text))
        assert _runs(child)
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking
        async with asyncio.timeout(60):  # a killed process closes its files, which is waited for, before it has ended
            while _runs(child):  # noqa: ASYNC110  # a process of somebody else has no event
                await asyncio.sleep(0.01)


def _runs(process: int) -> bool:
    """Return whether a process runs; one that ended and is not yet reaped does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


async def test_a_program_that_is_not_there(interceptor: Any, tmp_path: Path) -> None:
    """Nothing opens without it."""
    with pytest.raises(Permanent, match=r"spec\.argv\[0\].*not on the PATH"):
        async with interceptor({"type": "command", "argv": ["no-such-program"], "at": ["beforeTool"]}):
            pass
    with pytest.raises(Permanent, match=str(tmp_path)):
        async with interceptor({"type": "command", "argv": ["./hook"], "at": ["beforeTool"]}):
            pass
