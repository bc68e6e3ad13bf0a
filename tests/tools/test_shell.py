import asyncio
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from loomd.errors import Permanent, ToolFailed, Unauthorized
from loomd.tools import sandbox
from loomd.tools.text import plain
from tests.clocks import skip
from tests.tools.sandboxed import BOXES, Shell, Sign, open_folder, opener, takes

CANARY = "canary-0123456789-secret"


@pytest.fixture
def folder() -> Generator[Path]:
    """Yield the root of the manifest."""
    with open_folder() as folder:
        yield folder


@pytest.fixture
def shell(folder: Path) -> Shell:
    """Return an opener of tools, given a command and fields."""
    return opener(folder)


@pytest.mark.parametrize("box", BOXES)
async def test_a_command(shell: Shell, box: str) -> None:
    """Values fill their places: one each, a list several, and what is missing is left out."""
    command = ("printf", "<%s>", "{word}", "n={n}", "{more}", "{absent}", "-o={absent}", "{flag}")
    async with shell(*command, parameters=takes("word", "n", "more", "absent", "flag"), sandbox=box) as live:
        assert live.schema.description == "Runs printf <%s> {word} n={n} {more} {absent} -o={absent} {flag}"
        told = await live.call({"word": "a b", "n": 2, "more": ["x y", 3, "é"], "flag": True})
    assert told == "<a b><n=2><x y><3><é><true>"


@pytest.mark.parametrize("word", ["$(id)", "`id`", "; id", "| id", "&& id", "*", "~", "a\nb", "'\"", "%s", ""])
async def test_no_shell_reads_a_value(shell: Shell, word: str) -> None:
    """Whatever a value holds is one argument."""
    async with shell("printf", "%s|%s", "{word}", "end", parameters=takes("word"), sandbox="none") as live:
        assert await live.call({"word": word}) == f"{word}|end"


@pytest.mark.parametrize("word", ["-rf", "--output=/etc/x", "-", -5, ["ok", "-x"]])
async def test_a_value_is_no_option(shell: Shell, word: object) -> None:
    """A value that begins with `-` is refused, unless the command says `--` before it or the option's name is fixed."""
    async with shell("printf", "%s", "{word}", parameters=takes("word"), sandbox="none") as live:
        with pytest.raises(ToolFailed, match='the argument "word" may not begin with "-"'):
            await live.call({"word": word})
    async with shell("printf", "--", "%s", "{word}", parameters=takes("word"), sandbox="none") as live:
        assert await live.call({"word": "-rf"}) == "-rf"
    async with shell("printf", "%s", "x={word}", parameters=takes("word"), sandbox="none") as live:
        assert await live.call({"word": "-rf"}) == "x=-rf"


@pytest.mark.parametrize("word", ["a\0b", "a\ud800b"])
async def test_a_value_that_no_program_can_be_given(shell: Shell, word: str) -> None:
    """Null characters and lone surrogates are refused with a text for the model."""
    async with shell("printf", "%s", "{word}", parameters=takes("word"), sandbox="none") as live:
        with pytest.raises(ToolFailed, match='the argument "word" holds null characters'):
            await live.call({"word": word})


async def test_a_value_that_is_too_long(shell: Shell) -> None:
    """What the kernel takes no argument of is a text for the model; standard input takes it."""
    async with shell("printf", "%s", "{word}", parameters=takes("word")) as live:
        with pytest.raises(ToolFailed, match='"bwrap" cannot be started: Argument list too long'):
            await live.call({"word": "a" * 300_000})
    async with shell("wc", "-c", stdin="{word}!", parameters=takes("word")) as live:
        assert await live.call({"word": "a" * 300_000}) == "300001"
        with pytest.raises(ToolFailed, match='the argument "word" is missing'):
            await live.call({})


async def test_arguments_are_checked(shell: Shell) -> None:
    """What does not fit the schema never reaches the program."""
    async with shell("touch", "{word}", parameters=takes("word"), sandbox="none") as live:
        with pytest.raises(ToolFailed, match="the arguments are refused"):
            await live.call({"other": 1})


@pytest.mark.parametrize("box", BOXES)
async def test_the_environment(shell: Shell, box: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program gets what is declared and nothing of the daemon's; a secret that it prints is hidden."""
    monkeypatch.setenv("CANARY", CANARY)
    monkeypatch.setenv("LD_PRELOAD_OF_DAEMON", "x")
    env = {"TOKEN": {"valueFrom": {"env": "CANARY"}}, "MODE": "fast"}
    async with shell("env", env=env, sandbox=box) as live:
        lines = dict(line.split("=", 1) for line in (await live.call({})).splitlines())
    lines.pop("PWD", None)  # bubblewrap sets it when it changes the folder
    assert lines.keys() == {"PATH", "HOME", "TMPDIR", "LANG", "TOKEN", "MODE"}
    assert lines["TOKEN"] == "***"
    script = f'[ "$TOKEN" = {CANARY} ] && tr "\\0" " " < /proc/$PPID/cmdline; exit 1'
    async with shell("sh", "-c", script, env=env, sandbox=box, success=[0, 1]) as live:
        assert CANARY not in await live.call({})


async def test_a_missing_secret(shell: Shell) -> None:
    """A secret that is not there is found when the tool opens."""
    with pytest.raises(Unauthorized, match=r"Tool/it spec\.env\.T: environment variable GONE is not set"):
        async with shell("env", env={"T": {"valueFrom": {"env": "GONE"}}}, sandbox="none"):
            pass


@pytest.mark.parametrize("box", BOXES)
async def test_how_it_ended(shell: Shell, box: str) -> None:
    """The exit code is told; one that is no success is a failure, with what was written."""
    script = "echo out; echo err >&2; exit $0"
    more: dict[str, Any] = {"parameters": takes("code"), "success": [0, 1], "sandbox": box}
    async with shell("sh", "-c", script, "{code}", **more) as live:
        assert await live.call({"code": 0}) == "out\nerr"
        assert await live.call({"code": 1}) == "out\nerr\n[exit code 1]"
        with pytest.raises(ToolFailed, match=r"^exit code 7\nout\nerr$"):
            await live.call({"code": 7})
    async with shell("sh", "-c", script, "{code}", **more, streams="apart") as live:
        assert await live.call({"code": 0}) == "standard output:\nout\nstandard error:\nerr"
    async with shell("sh", "-c", "kill -SEGV $$", sandbox=box) as live:
        with pytest.raises(ToolFailed, match="exit code 139, by signal SIGSEGV"):
            await live.call({})
    async with shell("true", sandbox=box) as live:
        assert await live.call({}) == "(nothing was written)\n[exit code 0]"


async def test_exit_code_75_is_tried_again(shell: Shell) -> None:
    """A program that says that it may work later is run again."""
    script = 'echo x >> count; [ "$(wc -l < count)" = 3 ] || exit 75; echo done'
    more: dict[str, Any] = {"workdir": "w", "write": ["w"], "idempotent": True}
    async with shell("sh", "-c", script, **more, retries={"count": 1, "wait": "1ms"}) as live:
        with pytest.raises(ToolFailed, match=r"^exit code 75 \(after 2 attempts\)$"):
            await live.call({})
        assert await live.call({}) == "done"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07x \x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "red x link"),
        (b"10%\r50%\r100%\ndone\r\n", "100%\ndone\n"),
        (b"a\0b\x07c\x7fd", "a\ufffdb\ufffdc\ufffdd"),
        (b"a\xffb\xc3", "a\ufffdb\ufffd"),
        ("é\u2028\x9b31m".encode(), "é\u2028\ufffd31m"),
        (b"\x1b[" * 100_000 + b"m", ""),
    ],
    ids=["escapes", "progress", "control", "invalid", "c1", "many"],
)
def test_what_is_written_is_readable(written: bytes, shown: str) -> None:
    """Escape sequences go, other control characters and invalid bytes are replaced, quickly."""
    assert plain(written).lstrip("[") == shown


@pytest.mark.parametrize("box", BOXES)
async def test_a_flood_is_ended(shell: Shell, box: str) -> None:
    """A program that writes without end is ended at its limit, not at its time-out."""
    async with shell("yes", limits={"output": "1Mi"}, sandbox=box) as live:
        with pytest.raises(ToolFailed, match="it wrote more than 1048576 bytes and was ended"):
            await live.call({})


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_all_that_it_started_ends_with_it(
    folder: Path, shell: Shell, box: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a time-out and at a cancellation everything is killed at once, also what ignores signals or runs aside."""
    sign = Sign(folder)
    orphan = "(setsid sleep 1000 &) ;" if box == "bubblewrap" else ""
    aside = f"sleep 1000 & setsid sleep 1000 & {orphan}"
    script = f"trap '' TERM INT HUP; exec 3>alive; {aside} printf up >&3; sleep 1000"
    more: dict[str, Any] = {"workdir": "w", "write": ["w"], "sandbox": box}
    async with shell("sh", "-c", script, timeout="30s", **more) as live:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(_failed(live.call({})))
            await sign.begun()
            if how == "cancel":
                call.cancel()
            else:
                skip(30, monkeypatch)
        if how == "timeout":
            assert call.result() == "no result within 30 s"
        await sign.gone()


async def _failed(call: Any) -> str:
    try:
        return f"not failed: {await call}"
    except ToolFailed as error:
        return str(error)


@pytest.mark.parametrize("box", BOXES)
async def test_what_stays_behind_is_ended(folder: Path, shell: Shell, box: str) -> None:
    """A program that goes into the background does not outlive its call, and does not hold it up."""
    sign = Sign(folder)
    script = "exec 3>alive; sleep 1000 & printf up >&3; echo done"
    async with shell("sh", "-c", script, workdir="w", write=["w"], sandbox=box) as live:
        assert await live.call({}) == "done"
        await sign.begun()
        await sign.gone()


async def test_nothing_outlives_the_daemon(folder: Path) -> None:
    """When the daemon is killed, the kernel ends what runs in its sandboxes."""
    sign = Sign(folder)
    script = "exec 3>alive; (setsid sleep 1000 &); printf up >&3; sleep 1000"
    spec = {"type": "shell", "command": ["sh", "-c", script], "workdir": "w", "write": ["w"]}
    code = f"""
import asyncio
from pathlib import Path
from loomd.testing import open_spec
async def main():
    async with open_spec("Tool", {spec!r}, folder=Path({str(folder)!r})) as live:
        await live.call({{}})
asyncio.run(main())
"""
    daemon = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    await sign.begun()
    daemon.send_signal(signal.SIGKILL)
    await daemon.wait()
    await sign.gone()


async def test_calls_at_once(folder: Path, shell: Shell) -> None:
    """No more calls are made at once than `concurrency` says; the others wait for their turn."""
    script = "mkdir busy || exit 9; rmdir busy; echo ok"
    async with shell("sh", "-c", script, workdir="w", write=["w"], concurrency=1) as live:
        assert await asyncio.gather(*(live.call({}) for _ in range(8))) == ["ok"] * 8
    assert not (folder / "w" / "busy").exists()  # a look at a local folder


async def test_a_program_below_the_root(folder: Path, shell: Shell) -> None:
    """A script of one's own is named by its path; it is part of what the tool is."""
    (folder / "bin").mkdir()
    script = folder / "bin" / "greet"
    script.write_text('#!/bin/sh\necho "hello $1"\n')
    script.chmod(0o755)
    async with shell("./bin/greet", "{who}", parameters=takes("who")) as live:
        assert await live.call({"who": "you"}) == "hello you"
    with pytest.raises(Permanent, match=r'Tool/it spec\.command: expected a file "\./bin/gone" below'):
        async with shell("./bin/gone"):
            pass
    with pytest.raises(Permanent, match=r'spec\.command: there is no program "no-such-program" in /usr/local/sbin'):
        async with shell("no-such-program"):
            pass


async def test_without_bubblewrap(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A tool that is to run in a sandbox does not open without one, and says what to do."""
    monkeypatch.setattr(sandbox, "SEARCH", str(tmp_path))
    with pytest.raises(Permanent, match=r'install the package bubblewrap, or write "sandbox: none"'):
        async with shell("/bin/true"):
            pass


async def test_an_old_bubblewrap(folder: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot do what is needed, or is not allowed to, is refused when the tool opens."""
    monkeypatch.setattr(sandbox, "SEARCH", f"{folder}:/usr/bin:/bin")
    old = folder / "bwrap"
    old.write_text("#!/bin/sh\necho --die-with-parent\n")
    old.chmod(0o755)
    with pytest.raises(Permanent, match=r"spec\.sandbox: .*bwrap does not know --size: install bubblewrap 0\.7"):
        async with shell("/bin/true"):
            pass
    old.write_text("#!/bin/sh\necho --size --json-status-fd --disable-userns: not permitted; exit 1\n")
    with pytest.raises(Permanent, match=r"the sandbox cannot be made"):
        async with shell("/bin/true"):
            pass


async def test_a_folder_that_nobody_may_change(folder: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that is root says at once when its commands could not change a folder."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (folder / "w").chmod(0o755)
    with pytest.raises(Permanent, match="expected a folder that user 65534 may change"):
        async with shell("/bin/true", write=["w"]):
            pass
