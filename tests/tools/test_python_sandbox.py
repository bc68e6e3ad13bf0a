"""Python functions that never run inside the daemon: what they give, and what they cannot do."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loomd.errors import LoomdError, Permanent, ToolFailed, Unauthorized, Uncertain
from loomd.testing import open_spec, run_manifests
from loomd.tools import sandbox
from loomd.tools.base import LiveTool
from loomd.tools.context import TOLD
from loomd.tools.python import PythonTool
from loomd.tools.python_process import interpreter
from tests.clocks import skip
from tests.tools.sandboxed import BOXES, Function, Sign, beneath_head, function_opener, open_folder

SECRET = "canary-0123456789-secret"


@pytest.fixture
def folder() -> Generator[Path]:
    """Yield the root of the manifest."""
    with open_folder() as folder:
        yield folder


@pytest.fixture
def function(folder: Path) -> Function:
    """Return an opener of tools, given the text of a function `it`."""
    return function_opener(folder)


async def told(function: Function, code: str, arguments: dict[str, Any] | None = None, **more: Any) -> str:
    """Return what a function gives, or what is said of its failure."""
    async with function(code, **more) as live:
        return await outcome(live, arguments or {})


async def outcome(live: LiveTool, arguments: dict[str, Any]) -> str:
    """Return what a call gives, or what is said of its failure."""
    try:
        return await live.call(arguments)
    except LoomdError as error:
        return f"{type(error).__name__}: {error}"


CALLS = [
    pytest.param("def it(a: int, b: int = 2) -> int: return a + b", {"a": 1}, id="sum"),
    pytest.param("def it(a: int, b: int = 2) -> int: return a + b", {"a": 1, "b": "x"}, id="wrong-type"),
    pytest.param("def it(a: int) -> int: return a", {"a": 1, "c": 1}, id="unknown"),
    pytest.param("def it(a: int) -> int: return a", {}, id="missing"),
    pytest.param("async def it(a: str) -> dict: await asyncio.sleep(0); return {'a': a}", {"a": "é"}, id="async"),
    pytest.param("def it(at: Point) -> Point: return Point(at.x + 1, at.y)", {"at": {"x": 1}}, id="dataclass"),
    pytest.param("def it(o: Order) -> str: return f'{o.copies} x {o.book}'", {"book": "Emma"}, id="model"),
    pytest.param("def it(o: Order) -> str: return f'{o.copies} x {o.book}'", {"book": "E"}, id="model-refused"),
    pytest.param("def it(m: Literal['glad', 'sad'] = 'glad') -> str: return m", {"m": "odd"}, id="choice"),
    pytest.param("def it(a: Annotated[str, Field(max_length=2)]) -> str: return a", {"a": "a\ud800"}, id="surrogate"),
    pytest.param("def it() -> str: return 'a\\ud800b'", {}, id="surrogate-back"),
    pytest.param("def it() -> float: return float('nan')", {}, id="not-finite"),
    pytest.param("def it() -> bytes: return b'\\xff'", {}, id="bytes"),
    pytest.param("def it() -> None: return None", {}, id="nothing"),
    pytest.param("def it() -> str: return 'é' * 100000", {}, id="long"),
    pytest.param("def it() -> None: raise KeyError('nothing here')", {}, id="raises"),
    pytest.param("async def it() -> None: raise KeyError('nothing here')", {}, id="raises-async"),
    pytest.param("def it() -> None: raise ToolFailed('no such book')", {}, id="says-so"),
    pytest.param("def it() -> None: raise TimeoutError('slow')", {}, id="time-out-of-its-own"),
    pytest.param("def it() -> None: sys.exit(3)", {}, id="exit"),
    pytest.param("async def it() -> None: sys.exit(3)", {}, id="exit-async"),
    pytest.param("def it() -> None: raise StopIteration", {}, id="stop-iteration"),
    pytest.param("def it() -> None: raise Uncertain('was it done?')", {}, id="uncertain"),
    pytest.param("def it() -> int: print('x' * 99, flush=True); return 1", {}, id="prints"),
]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize(("code", "arguments"), CALLS)
async def test_as_inside_the_daemon(function: Function, code: str, arguments: dict[str, Any], box: str) -> None:
    """A model is told of a function, of its results and of its failures alike, wherever it runs."""
    async with function(code, None) as inside:
        schema, said = inside.schema, await outcome(inside, arguments)
    async with function(code, box) as apart:
        assert apart.schema == schema
        assert await outcome(apart, arguments) == said


@pytest.mark.parametrize("box", BOXES)
async def test_a_call_pays_for_what_it_needs(function: Function, box: str) -> None:
    """Where arguments and results are plain JSON, a call imports nothing of the daemon that takes long."""
    heavy = {"asyncio", "dataclasses", "inspect", "logging", "msgspec", "pathlib", "pydantic_core", "typing"}
    code = f"def it(a: int, b: list[str] | None = None) -> list: return [a, sorted({heavy!r} & {{*sys.modules}})]"
    async with function(code, box) as live:
        assert await live.call({"a": 1, "b": ["x"]}) == "[1,[]]"


@pytest.mark.parametrize("box", BOXES)
async def test_a_look_pays_for_what_it_needs(function: Function, box: str) -> None:
    """Where parameters are plain JSON, a function is described without Pydantic, which here cannot be imported."""
    code = "sys.modules['pydantic_core'] = None\ndef it(a: int, b: list[str] | None = None) -> str: return 'done'"
    async with function(code, box) as live:
        assert live.schema.parameters["required"] == ["a"]
        assert await live.call({"a": 1}) == "done"


async def test_the_daemon_runs_no_line_of_it(function: Function, folder: Path) -> None:
    """Neither validation, nor opening, nor a call runs the file inside the daemon."""
    code = "sys.loomd_canary = True\ndef it() -> int: return os.getppid()"
    spec = PythonTool(file="tool.py", function="it", description="Does it.", sandbox="bubblewrap")
    async with function(code) as live:
        assert list(spec.check(folder)) == []
        await live.call({})
    assert "loomd_canary" not in vars(sys)
    assert not [name for name in sys.modules if name.startswith("loomd_tool")]
    async with function(code, None):
        assert "loomd_canary" in vars(sys)  # what it would do
        delattr(sys, "loomd_canary")


@pytest.mark.parametrize("box", BOXES)
async def test_what_is_called_is_what_was_opened(function: Function, folder: Path, box: str) -> None:
    """A file that changes meanwhile does not change an open tool: the next revision opens the new one."""
    async with function("def it() -> str: return 'old'", box) as live:
        (folder / "tool.py").write_text("def it() -> str: return 'new'")
        assert await live.call({}) == "old"


FILES = """
def it() -> list[str]:
    found = []
    for place in {places!r}:
        try:
            found.append(Path(place).read_text())
        except OSError as error:
            found.append(error.strerror)
    return found
"""


async def test_files(function: Function, folder: Path) -> None:
    """A function sees no file of the machine, of the daemon's user, of the manifests or of the daemon."""
    keys = folder / ".ssh"
    keys.mkdir()
    (keys / "id_ed25519").write_text(SECRET)
    state = str(folder / "state" / "loomd.sqlite")
    places = [str(keys / "id_ed25519"), str(folder / "tool.py"), state, "/etc/shadow", "/etc/passwd", "/root/.bashrc"]
    gone = ", ".join(['"No such file or directory"'] * len(places)).replace(", ", ",")
    assert await told(function, FILES.format(places=places)) == f"[{gone}]"
    assert SECRET in await told(function, FILES.format(places=places), box="none")


async def test_declared_paths(function: Function, folder: Path) -> None:
    """What is declared is there: to be read, or to be changed."""
    (folder / "data").mkdir()
    (folder / "data" / "a").write_text("read me")
    code = """
def it() -> str:
    with open("note", "w") as out: out.write(Path({data!r}).read_text())
    try: Path({data!r}).write_text("x")
    except OSError as error: return error.strerror
"""
    more: dict[str, Any] = {"read": ["data"], "write": ["w"], "workdir": "w"}
    assert await told(function, code.format(data=str(folder / "data" / "a")), **more) == "Read-only file system"
    assert (folder / "w" / "note").read_text() == "read me"


async def test_the_packages_of_the_daemon_cannot_be_changed(function: Function) -> None:
    """Python and its packages are there to be read; nothing that outlives the call can be written."""
    code = """
def it() -> list[str]:
    import loomd, pydantic
    found = []
    for place in (loomd.__file__, pydantic.__file__, sys.executable, "/usr/x", "/x", "/mnt/x"):
        try: Path(place).parent.joinpath("loomd-was-here").write_text("x"); found.append(place)
        except OSError as error: pass
    return found
"""
    assert await told(function, code) == "[]"


@pytest.mark.parametrize("network", [False, True], ids=["without", "with"])
async def test_the_network(function: Function, network: bool) -> None:
    """Nothing is reached, this machine's services included, unless the manifest allows it."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        code = f"def it() -> str: socket.create_connection(('127.0.0.1', {port})); return 'reached'"
        assert (await told(function, code, network=network) == "reached") is network


@pytest.mark.parametrize("box", BOXES)
async def test_the_environment(function: Function, box: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function gets the declared variables and none of the daemon's; a secret that it gives is hidden."""
    monkeypatch.setenv("CANARY", SECRET)
    monkeypatch.setenv("OTHER", "x")
    monkeypatch.setenv("PYTHONSTARTUP", "x")
    env = {"TOKEN": {"valueFrom": {"env": "CANARY"}}, "MODE": "fast"}
    code = """
def it(how: str) -> str:
    if how == "names": return " ".join(sorted(set(os.environ) - {"PWD", "LC_CTYPE"}))
    if how == "raises": raise KeyError(os.environ["TOKEN"])
    if how == "dies": print(os.environ["TOKEN"], flush=True); os._exit(9)
    return os.environ["TOKEN"]
"""
    async with function(code, box, env=env) as live:
        assert await outcome(live, {"how": "names"}) == "HOME LANG MODE PATH TMPDIR TOKEN"
        assert await outcome(live, {"how": "gives"}) == "***"
        assert await outcome(live, {"how": "raises"}) == "ToolFailed: KeyError: '***'"
        said = "ToolFailed: its process ended without a result: exit code 9\n***"
        assert await outcome(live, {"how": "dies"}) == said
    with pytest.raises(Unauthorized, match="GONE is not set"):
        async with function(code, box, env={"T": {"valueFrom": {"env": "GONE"}}}):
            pass


async def test_other_processes(function: Function) -> None:
    """A function sees its own processes only, and cannot end the daemon."""
    code = f"""
def it() -> list[object]:
    try: os.kill({os.getpid()}, 9)
    except OSError as error: pass
    return [os.getuid(), len([one for one in os.listdir("/proc") if one.isdigit()]) <= 3]
"""
    assert await told(function, code) == "[65534,true]"


async def test_a_fork_bomb(function: Function) -> None:
    """It meets its limit, and ends with its call."""
    bomb = "def it() -> str:\n    while True: os.fork()"
    said = await told(function, bomb, timeout="3s", limits={"processes": 20})
    assert "Resource temporarily unavailable" in said or said == "ToolFailed: no result within 3 s"
    code = "def it() -> str:\n    for i in range(60):\n        if not os.fork(): time.sleep(99)"
    said = await told(function, code, limits={"processes": 20})
    assert said == "ToolFailed: BlockingIOError: [Errno 11] Resource temporarily unavailable"


async def test_memory(function: Function) -> None:
    """A function gets no more memory than it may have; the failure is an ordinary one."""
    code = "def it() -> int: return len(bytearray(400 << 20))"
    assert await told(function, code, limits={"memory": "300Mi"}) == "ToolFailed: MemoryError"
    assert await told(function, code) == str(400 << 20)


async def test_processor_time(function: Function) -> None:
    """A busy loop ends when its time is up, long before the call's own time-out."""
    said = await told(function, "def it() -> None:\n    while True: pass", limits={"cpu": "1s"})
    assert "without a result: exit code 1" in said
    assert "by signal SIG" in said


GARBAGE = [
    pytest.param("os._exit(0)", "its process ended without a result: exit code 0", id="exit"),
    pytest.param("print('last words', flush=True); os._exit(7)", "exit code 7\nlast words", id="words"),
    pytest.param("os.kill(os.getpid(), 11)", "by signal SIGSEGV", id="signal"),
    pytest.param("os.kill(os.getpid(), 9)", "without a result: exit code 137, by signal SIGKILL", id="kill"),
    pytest.param("os.write(1, b'\\0\\xff' * 99); return 'good'", "good", id="bytes-on-stdout"),
    pytest.param("subprocess.run(['cat', '/usr/bin/cat']); return 'good'", "good", id="program-on-stdout"),
    pytest.param("os.close(1); os.close(2); os.close(0); return 'good'", "good", id="closes"),
    pytest.param("sys.stdout = None; sys.stderr = None; return 'good'", "good", id="no-streams"),
    pytest.param("threading.Thread(target=time.sleep, args=(99,)).start(); return 'good'", "good", id="thread"),
    pytest.param("subprocess.Popen(['sleep', '99']); return 'good'", "good", id="process"),
    pytest.param("os.write(1, b'x' * (5 << 20))", "it wrote more than 1048576 bytes and was ended", id="flood"),
    pytest.param("return 'x' * (5 << 20)", "it wrote more than 1048576 bytes and was ended", id="large-result"),
    pytest.param("forge(b'nonsense')", "something that is no answer", id="nonsense"),
    pytest.param("forge(b'[' * 100000)", "something that is no answer", id="deep"),
    pytest.param("forge(b'\"\\xff')", "something that is no answer", id="no-utf-8"),
    pytest.param('forge(b\'{"type":"Other"}\')', "something that is no answer", id="other-type"),
    pytest.param('forge(b\'{"type":"Gave","text":7}\')', "something that is no answer", id="other-value"),
    pytest.param('forge(b\'{"type":"Described","summary":"","parameters":{}}\')', "is no result", id="description"),
    pytest.param('forge(b\'{"type":"Failed","text":"","sort":"diverged"}\')', "is no answer", id="other-failure"),
]
FORGE = """
def forge(data):
    for number in range(3, 4096):
        try: os.write(number, data)
        except OSError: pass
    os._exit(0)
def it() -> str:
    {code}
"""


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize(("code", "said"), GARBAGE)
async def test_garbage(function: Function, code: str, said: str, box: str) -> None:
    """Whatever a function does to its process and what it writes, the call ends with a result or a plain failure."""
    got = await told(function, FORGE.format(code=code), box=box, limits={"output": "1Mi"}, timeout="20s")
    assert said in got
    assert got == "good" or got.startswith("ToolFailed: ")


OPENING = [
    pytest.param("1 / 0", r'spec\.file: "tool\.py" cannot be loaded: ZeroDivisionError', id="raises"),
    pytest.param("sys.exit(1)", r'spec\.file: "tool\.py" cannot be loaded: SystemExit: 1', id="exits"),
    pytest.param("os._exit(1)", r"spec\.file: its process ended without a result: exit code 1", id="leaves"),
    pytest.param("time.sleep(99)", r"spec\.file: it did not load within 1 s", id="hangs"),
    pytest.param("it = 3", r'"tool\.py" has no function "it"', id="no-function"),
    pytest.param("def it(*a): pass", 'parameter "a" cannot be described', id="starred"),
    pytest.param("def it(a: Nowhere): pass", "an annotation cannot be resolved", id="annotation"),
    pytest.param("it.__doc__ = 'x' * 99999", "at most 65536 bytes", id="size"),
    pytest.param("forge({'type': 'Gave', 'text': 'x'})", "something that is no description", id="result"),
    pytest.param("forge({'type': 'Described', 'summary': '', 'parameters': {}})", "not of type object", id="no-object"),
    pytest.param(
        "forge({'type': 'Described', 'summary': '', 'parameters': deep(40)})", "more than 32 levels", id="deep"
    ),
    pytest.param("forge({'type': 'Described', 'summary': '', 'parameters': odd})", "schema cannot be used", id="odd"),
]
DESCRIBE = """
odd = {"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}}
def deep(levels): return {"items": deep(levels - 1)} if levels else {}
def forge(data):
    for number in range(3, 4096):
        try: os.write(number, json.dumps(data).encode())
        except OSError: pass
    os._exit(0)
def it(): pass
"""


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize(("code", "said"), OPENING)
async def test_what_cannot_open(function: Function, code: str, said: str, box: str) -> None:
    """A file that no model can be told of is refused when the tool opens, whatever it does."""
    with pytest.raises(Permanent, match=said):
        async with function(DESCRIBE + code, box, timeout="1s" if "sleep" in code else "30s"):
            pass


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("how", ["timeout", "cancel"])
@pytest.mark.parametrize("sort", ["def", "async def"])
async def test_all_that_it_started_ends_with_it(
    folder: Path, function: Function, box: str, how: str, sort: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a time-out and at a cancellation the function and all that it started are killed at once."""
    sign = Sign(folder)
    code = f"""
import signal
{sort} it() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    number = os.open({str(sign.path)!r}, os.O_WRONLY)
    os.set_inheritable(number, True)
    subprocess.Popen(["sleep", "1000"], close_fds=False)
    subprocess.Popen(["sleep", "1000"], close_fds=False, start_new_session=True)
    os.write(number, b"up")
    time.sleep(1000)
"""
    async with function(code, box, write=["w"], timeout="30s") as live:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(_failed(live))
            await sign.begun()
            if how == "cancel":
                call.cancel()
            else:
                skip(30, monkeypatch)
        if how == "timeout":
            assert call.result() == "no result within 30 s"
        await sign.gone()


async def _failed(live: LiveTool) -> str:
    try:
        return f"not failed: {await live.call({})}"
    except ToolFailed as error:
        return str(error)


async def test_nothing_outlives_the_daemon(function: Function, folder: Path) -> None:
    """When the daemon is killed, the kernel ends what runs in its sandboxes."""
    sign = Sign(folder)
    it = f"def it() -> None: os.write(os.open({str(sign.path)!r}, os.O_WRONLY), b'up'); time.sleep(1000)"
    async with function(it, write=["w"]):
        pass
    spec = {"type": "python", "file": "tool.py", "function": "it", "description": "Does it."}
    code = f"""
import asyncio
from pathlib import Path
from loomd.testing import open_spec
async def main():
    spec = {spec | {"sandbox": "bubblewrap", "write": ["w"]}!r}
    async with open_spec("Tool", spec, folder=Path({str(folder)!r})) as live:
        await live.call({{}})
asyncio.run(main())
"""
    daemon = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    await sign.begun()
    daemon.send_signal(signal.SIGKILL)
    await daemon.wait()
    await sign.gone()


CONTEXT = SimpleNamespace(
    task="t1",
    namespace="default",
    agent="clerk",
    session="s1",
    tenant="acme",
    user="ann",
    key="t1/c/1",
    metadata={"tenant": "other", "region": "eu"},
)


@pytest.mark.parametrize("box", BOXES)
async def test_the_context(function: Function, box: str) -> None:
    """What is plain data of a call's context crosses; the rest says that it lives in the daemon."""
    code = "def it(use: str, context: ToolContext) -> object: return eval(use, {'context': context})"
    context: Any = CONTEXT
    async with function(code, box) as live:
        assert live.schema.parameters["required"] == ["use"]
        assert live.schema.parameters["properties"] == {"use": {"type": "string"}}
        names = ", ".join(f"context.{name}" for name in (*TOLD, "region", "metadata"))
        said = '["t1","default","clerk","s1","acme","ann","t1/c/1","eu",{"tenant":"other","region":"eu"}]'
        assert await live.call({"use": f"[{names}]"}, context) == said
        assert await live.call({"use": "context is None"}) == "true"
        for use in ("context.step('a', None, str)", "context.spend(1.0)", "context.offer([])", "context.now()"):
            lives = rf"context\.{use[8:].partition('(')[0]} lives in the daemon, a function with a sandbox has"
            with pytest.raises(ToolFailed, match=lives):
                await live.call({"use": use}, context)
        odd = "AttributeError: the context has no odd, and toolContext of the agent says: tenant, region"
        with pytest.raises(ToolFailed, match=odd):
            await live.call({"use": "context.odd"}, context)


async def test_calls_that_are_made_again(function: Function) -> None:
    """A function that says that it may work later is called again; what is uncertain stays that."""
    code = """
def it() -> str:
    with open("count", "a") as out: out.write("x")
    if Path("count").stat().st_size < 3: raise RateLimited("later", retry_after=0.001)
    return "done"
"""
    more: dict[str, Any] = {"workdir": "w", "write": ["w"], "effects": "read", "retries": {"count": 3, "wait": "1ms"}}
    assert await told(function, code, **more) == "done"
    async with function("def it() -> None: raise Uncertain('was it done?')") as live:
        with pytest.raises(Uncertain, match="was it done"):
            await live.call({})


async def test_calls_at_once(function: Function) -> None:
    """No more processes run at once than `threads` says."""
    code = "def it() -> str: os.mkdir('busy'); time.sleep(0.01); os.rmdir('busy'); return 'ok'"
    async with function(code, workdir="w", write=["w"], threads=1) as live:
        assert await asyncio.gather(*(live.call({}) for _ in range(4))) == ["ok"] * 4


async def test_a_function_of_a_package(folder: Path) -> None:
    """Packages of the daemon's own Python are there, when its settings allow them."""
    spec = {"type": "python", "package": "textwrap", "function": "dedent", "sandbox": "bubblewrap"}
    async with open_spec("Tool", spec, folder=folder, packages=("textwrap",)) as live:
        assert live.schema.description.startswith("Remove any common leading whitespace")
        assert await live.call({"text": "  a"}) == "a"
    with pytest.raises(Permanent, match=r'spec\.package: "textwrap" is not allowed here'):
        async with open_spec("Tool", spec, folder=folder):
            pass


async def test_without_bubblewrap(function: Function, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A function that is to run in a sandbox does not open without one, and says what to do."""
    monkeypatch.setattr(sandbox, "SEARCH", str(tmp_path))
    with pytest.raises(Permanent, match=r'spec\.sandbox: .*install the package bubblewrap, or write "sandbox: none"'):
        async with function("def it() -> int: return 1"):
            pass


def test_the_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Python is shown by the names that it has, and by those that links lead to; what is below `/usr` is there."""
    (tmp_path / "python-3.11.7").mkdir()
    (tmp_path / "python").symlink_to("python-3.11.7")
    monkeypatch.setattr(sys, "prefix", "/usr/local")
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "python"))
    _, places = interpreter()
    assert set(places) >= {tmp_path / "python", tmp_path.resolve() / "python-3.11.7"}
    assert Path("/usr/local") not in places


WORK = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: local}
spec:
  type: scripted
  replies:
    - {toolCalls: [{name: weigh, arguments: {grams: 5}}]}
    - {text: "It weighs 5 g for clerk."}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: weigh}
spec: {type: python, file: tool.py, function: weigh, sandbox: bubblewrap, effects: read}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: clerk}
spec: {description: Weighs., provider: local, tools: [weigh]}
"""


async def test_at_work(folder: Path) -> None:
    """An agent calls a sandboxed function like every other tool."""
    code = (
        "def weigh(grams: int, context: ToolContext) -> str:\n    'Weigh.'\n    return f'{grams} g for {context.agent}'"
    )
    (folder / "tool.py").write_text(beneath_head(code))
    ran = await run_manifests(WORK, "weigh it", folder)
    assert ran.result.phase == "Succeeded"
    assert any("5 g for clerk" in str(event.data) for event in ran.events if "Tool" in type(event.data).__name__)
