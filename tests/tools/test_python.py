import asyncio
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loomd.errors import Permanent, ToolFailed
from loomd.manifest.oneof import find_types
from loomd.messages import UNREADABLE
from loomd.tools.base import ToolSpec
from loomd.tools.python import PythonTool
from loomd.tools.text import cut

CALC = '''
"""Sums."""
from __future__ import annotations
from dataclasses import dataclass
from typing import Annotated, Literal
import asyncio, concurrent.futures, datetime, sys, threading
from pathlib import Path
from pydantic import Field

@dataclass
class Point:
    x: int
    y: int = 0

def add(a: int, b: int = 2) -> int:
    """Add two numbers,
    whatever their sign.

    Args:
        a: the first number
            of the two.
        b (int): the second number.

    Returns:
        the sum.
    """
    return a + b

async def greet(name: Annotated[str, Field(description="who")], mood: Literal["glad", "sad"] = "glad") -> dict:
    """Greet."""
    await asyncio.sleep(0)
    return {"hello": name, "mood": mood}

def point(at: Point) -> Point:
    """Move."""
    return Point(at.x + 1, at.y)

def bad() -> None:
    """Fail."""
    raise KeyError("nothing here")

def leave() -> None:
    """Leave."""
    sys.exit(3)

async def leave_later() -> None:
    """Leave."""
    sys.exit(3)

class Own(BaseException):
    """What is no Exception."""

KINDS = {
    "interrupt": KeyboardInterrupt("now"), "cancel": asyncio.CancelledError("x"), "end": GeneratorExit("x"),
    "own": Own("x"), "late": concurrent.futures.CancelledError("x"),
}

def raises(kind: str) -> None:
    """Raise."""
    raise KINDS[kind]

async def raises_later(kind: str) -> None:
    """Raise."""
    raise KINDS[kind]

def odd() -> list:
    """Odd."""
    return [object()]

def shapes() -> dict:
    """Many sorts."""
    return {"at": datetime.date(2026, 1, 2), "set": {1}, "path": Path("a"), "point": Point(1)}

def stop() -> None:
    """Stop."""
    raise StopIteration

gate = threading.Event()

def hang() -> None:
    """Hang."""
    gate.wait(60)

async def sleep() -> None:
    """Sleep."""
    await asyncio.sleep(3600)

def much() -> str:
    """Much."""
    return "é" * 1000

def surrogate() -> str:
    """Odd."""
    return "a\\ud800b"

def binary() -> bytes:
    """Odd."""
    return b"\\xff"

def many(*names: str) -> str:
    """Many."""
    return ""

def silent(a: int) -> int:
    return a

limit = 3
'''


MORE = '''
from json import loads
import no_such_module

@no_such_module.wraps
def wrapped(*names):
    return ""

def placed(a: int, /) -> int:
    """Place."""
    return a

def fails() -> str:
    """Fail when the file is loaded."""
    return ""

def told(context):
    """Do."""
'''


@pytest.fixture
def calc(tmp_path: Path) -> Path:
    """Return a folder with `tools/calc.py`."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "calc.py").write_text(CALC)
    return tmp_path


def spec(function: str, **more: object) -> dict[str, object]:
    """Return a spec for a function of the file."""
    return {"type": "python", "file": "tools/calc.py", "function": function, **more}


def test_the_types() -> None:
    """The folder holds these types."""
    names = "agent calculator files http knowledge mcp openapi python result shell signal wait"
    assert set(find_types("loomd.tools", ToolSpec)) == set(names.split())


@pytest.mark.usefixtures("calc")
async def test_the_schema(tool: Any) -> None:
    """A model is told what signature and docstring say."""
    async with tool(spec("add")) as live:
        assert live.schema.name == "it"
        assert live.schema.description == "Add two numbers, whatever their sign."
        assert live.schema.parameters == {
            "type": "object",
            "properties": {
                "a": {"type": "integer", "description": "the first number of the two."},
                "b": {"type": "integer", "default": 2, "description": "the second number."},
            },
            "required": ["a"],
            "additionalProperties": False,
        }
        assert (live.effects, live.idempotent) == ("external", False)


@pytest.mark.usefixtures("calc")
async def test_a_description_in_an_annotation(tool: Any) -> None:
    """What an annotation says of a parameter is told, too, when the docstring says nothing of it."""
    async with tool(spec("greet")) as live:
        assert live.schema.parameters["properties"]["name"] == {"type": "string", "description": "who"}


@pytest.mark.usefixtures("calc")
@pytest.mark.parametrize(
    ("function", "arguments", "result"),
    [
        ("add", {"a": 1}, "3"),
        ("add", {"a": 1, "b": 5}, "6"),
        ("greet", {"name": "Ada"}, '{"hello":"Ada","mood":"glad"}'),
        ("point", {"at": {"x": 1}}, '{"x":2,"y":0}'),
        ("surrogate", {}, "a?b"),
        ("shapes", {}, '{"at":"2026-01-02","set":[1],"path":"a","point":{"x":1,"y":0}}'),
    ],
)
async def test_results(tool: Any, function: str, arguments: dict[str, object], result: str) -> None:
    """Functions and coroutines get validated arguments and give text."""
    async with tool(spec(function)) as live:
        assert await live.call(arguments) == result


@pytest.mark.usefixtures("calc")
@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        pytest.param("add", {}, "a: Field required", id="missing"),
        pytest.param("add", {"a": "one"}, "a: Input should be a valid integer", id="wrong-type"),
        pytest.param("add", {"a": 1, "c": 2}, "c: Extra inputs are not permitted", id="unknown"),
        pytest.param("greet", {"name": "x", "mood": "odd"}, "mood: Input should be 'glad' or 'sad'", id="choice"),
        pytest.param("add", {UNREADABLE: '{"a":'}, "not a JSON object", id="unreadable"),
        pytest.param("bad", {}, "KeyError: 'nothing here'", id="raises"),
        pytest.param("leave", {}, "SystemExit: 3", id="exit"),
        pytest.param("leave_later", {}, "SystemExit: 3", id="exit-async"),
        pytest.param("stop", {}, "StopIteration", id="stop-iteration"),
        pytest.param("binary", {}, "cannot be written as JSON", id="binary"),
        pytest.param("odd", {}, r"cannot be written as JSON: .*object", id="object"),
    ],
)
async def test_failures_are_for_the_model(tool: Any, function: str, arguments: dict[str, object], message: str) -> None:
    """Whatever goes wrong is a text that a model can act on."""
    async with tool(spec(function)) as live:
        with pytest.raises(ToolFailed, match=message):
            await live.call(arguments)


@pytest.mark.usefixtures("calc")
async def test_what_is_raised_ends_nothing_but_the_call(tool: Any) -> None:
    """Whatever would end the process, and a cancellation that nobody asked for, is a failure; the rest goes on."""
    said = {
        "interrupt": "KeyboardInterrupt: now",
        "cancel": "CancelledError: x",
        "end": "GeneratorExit: x",
        "own": "Own: x",
        "late": "CancelledError: x",
    }
    for function in ("raises", "raises_later"):
        async with tool(spec(function)) as live:
            for kind, text in said.items():
                with pytest.raises(ToolFailed) as failure:
                    await live.call({"kind": kind})
                assert str(failure.value) == text
    current = asyncio.current_task()
    assert current is not None
    assert not current.cancelling()


@pytest.mark.usefixtures("calc")
async def test_a_hanging_function(tool: Any) -> None:
    """A call that hangs ends with its timeout, in a thread and in the event loop."""
    async with tool(spec("hang", timeout="50ms")) as live:
        with pytest.raises(ToolFailed, match=r"no result within 0\.05 s"):
            await live.call({})
        module = next(module for name, module in sys.modules.items() if name.startswith("loomd_tool_it"))
        module.gate.set()


@pytest.mark.usefixtures("calc")
async def test_a_sleeping_coroutine(tool: Any) -> None:
    """A coroutine that sleeps is cancelled by its timeout."""
    async with tool(spec("sleep", timeout="50ms")) as live:
        with pytest.raises(ToolFailed, match="no result within"):
            await live.call({})


@pytest.mark.usefixtures("calc")
async def test_cancelling_is_no_failure(tool: Any) -> None:
    """A caller that gives up sees its own cancellation, not a failed tool."""
    async with tool(spec("sleep")) as live:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await live.call({})


@pytest.mark.usefixtures("calc")
async def test_long_output_is_cut(tool: Any) -> None:
    """What is longer than what is kept is cut at a whole character, and says so."""
    async with tool(spec("much", keep="101")) as live:
        assert await live.call({}) == "é" * 50 + "\n[cut: 101 of 2000 bytes]"


@pytest.mark.usefixtures("calc")
async def test_nothing_is_left_behind(tool: Any, tmp_path: Path) -> None:
    """Closing removes the module and the threads; no byte code is written."""
    before = threading.active_count()
    async with tool(spec("add")) as live:
        await live.call({"a": 1})
    assert not [name for name in sys.modules if name.startswith("loomd_tool_it")]
    assert threading.active_count() <= before + 1
    assert not (tmp_path / "tools" / "__pycache__").exists()  # a look at a local folder


@pytest.mark.usefixtures("calc")
@pytest.mark.parametrize(
    ("function", "message"),
    [
        pytest.param("silent", r"Tool/it spec\.file: expected spec\.description or a docstring", id="no-description"),
        pytest.param("many", 'parameter "names" cannot be described', id="varargs"),
        pytest.param("limit", 'has no function "limit"', id="no-function"),
    ],
)
async def test_what_cannot_open(tool: Any, function: str, message: str) -> None:
    """A function that a model cannot be told of is refused when the tool opens."""
    with pytest.raises(Permanent, match=message):
        async with tool(spec(function)):
            pass


async def test_an_import_that_fails_is_told_when_it_opens(tool: Any, tmp_path: Path) -> None:
    """Validation runs nothing, so that a module that is not there is told by whoever opens the tool."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "calc.py").write_text(MORE)
    assert list(PythonTool(file="tools/calc.py", function="fails").check(tmp_path)) == []
    with pytest.raises(Permanent, match=r'"calc\.py" cannot be loaded: ModuleNotFoundError: .*no_such_module'):
        async with tool(spec("fails")):
            pass


async def test_a_file_that_fails_to_load(tool: Any, tmp_path: Path) -> None:
    """A file that raises names itself and its error."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "calc.py").write_text("1 / 0")
    with pytest.raises(Permanent, match=r'"calc\.py" cannot be loaded: ZeroDivisionError'):
        async with tool(spec("add")):
            pass


@pytest.mark.parametrize(
    ("file", "function", "problem"),
    [
        pytest.param("tools/calc.py", "add", None, id="good"),
        pytest.param("tools/calc.py", "sub", ("/function", 'got "sub": it has add, greet'), id="no-function"),
        pytest.param(
            "tools/gone.py", "add", ("/file", 'expected a file "tools/gone.py" below .*, got nothing'), id="no-file"
        ),
        pytest.param("tools", "add", ("/file", 'got the folder "tools"'), id="folder"),
        pytest.param("../calc.py", "add", ("/file", "leads out of it"), id="outside"),
        pytest.param("/etc/passwd", "add", ("/file", "expected a path relative to"), id="absolute"),
        pytest.param("tools/link.py", "add", ("/file", "leads out of it"), id="link"),
        pytest.param("tools/broken.py", "add", ("/file", "line 1: .*"), id="syntax"),
        pytest.param("tools/null.py", "add", ("/file", '"null.py" holds null bytes'), id="null-bytes"),
        pytest.param("tools/deep.py", "add", ("/file", '"deep.py" is too deeply nested'), id="nesting"),
        pytest.param("tools/large.py", "add", ("/file", "at most 128 KiB, got a larger one"), id="size"),
        pytest.param("tools/calc.py", "gret", ("/function", 'got "gret": did you mean "greet"'), id="misspelled"),
        pytest.param("tools/calc.py", "Point", ("/function", 'got "Point": did you mean "point"'), id="class"),
        pytest.param("tools/calc.py", "many", ("/function", 'parameter "names" cannot be'), id="starred"),
        pytest.param("tools/calc.py", "silent", ("/function", "or a docstring in .*, got neither"), id="no-docstring"),
        pytest.param("tools/more.py", "wrapped", None, id="decorated"),
        pytest.param("tools/more.py", "placed", ("/function", 'parameter "a" cannot be described'), id="positional"),
        pytest.param("tools/more.py", "told", ("/function", '"context" of "told" to have a type'), id="context"),
        pytest.param("tools/more.py", "fails", None, id="not-run"),
        pytest.param("tools/more.py", "loads", ("/function", 'got "loads"'), id="imported"),
    ],
)
def test_check(
    calc: Path, tmp_path_factory: pytest.TempPathFactory, file: str, function: str, problem: tuple[str, str] | None
) -> None:
    """Validation finds a missing file or function without running anything."""
    outside = tmp_path_factory.mktemp("outside") / "calc.py"
    outside.write_text("def add(): ...")
    (calc / "tools" / "link.py").symlink_to(outside)
    (calc / "tools" / "broken.py").write_text("def (")
    (calc / "tools" / "null.py").write_bytes(b"\0")
    (calc / "tools" / "deep.py").write_text("-" * 100_000 + "1")
    (calc / "tools" / "large.py").write_text("#" * (128 << 10) + "\n")
    (calc / "tools" / "more.py").write_text(MORE)
    found = list(PythonTool(file=file, function=function).check(calc))
    if problem is None:
        assert found == []
    else:
        assert [pointer for pointer, _ in found] == [problem[0]]
        assert re.search(problem[1], found[0][1])


@pytest.mark.parametrize(("text", "limit", "expected"), [("abc", 3, "abc"), ("abcd", 3, "abc\n[cut: 3 of 4 bytes]")])
def test_cut(text: str, limit: int, expected: str) -> None:
    """A text is cut by bytes."""
    assert cut(text, limit) == expected


PACKAGED = '''
"""Billing."""
from pydantic import BaseModel, ConfigDict, Field, model_validator
from loomd.tools.context import ToolContext

class Order(BaseModel):
    """An order, as billing sees it."""
    model_config = ConfigDict(extra="forbid")
    book: str = Field(min_length=2, description="Title of the book.")
    copies: int = 1

    @model_validator(mode="after")
    def _few(self):
        if self.copies > 9:
            raise ValueError("at most nine copies")
        return self

def bill(order: Order) -> str:
    """Bill an order."""
    return f"{type(order).__name__} {order.copies} x {order.book}"

async def told(order: Order, context: ToolContext) -> str:
    """Bill an order, with its context."""
    return f"{order.book} {context is None}"

def two(order: Order, note: str = "") -> str:
    """Bill an order with a note."""
    return f"{order.book} {note}"

limit = 3
'''


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put a package where Python finds it."""
    package = tmp_path / "lib" / "acme_tools_for_tests"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "billing.py").write_text(PACKAGED)
    (package / "broken.py").write_text("raise OSError('no licence')")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    yield
    for name in [name for name in sys.modules if name.startswith("acme_tools_for_tests")]:
        del sys.modules[name]


def packaged(function: str, module: str = "acme_tools_for_tests.billing") -> dict[str, object]:
    """Return a spec for a function of the package."""
    return {"type": "python", "package": module, "function": function}


@pytest.mark.usefixtures("acme")
async def test_a_model_says_what_a_function_takes(tool: Any) -> None:
    """The only parameter that is a Pydantic model is what the arguments are; among others it is one of them."""
    async with tool(packaged("bill"), packages=("acme_tools_for_tests",)) as live:
        assert live.schema.description == "Bill an order."
        assert live.schema.parameters == {
            "type": "object",
            "properties": {
                "book": {"type": "string", "minLength": 2, "description": "Title of the book."},
                "copies": {"type": "integer", "default": 1},
            },
            "required": ["book"],
            "additionalProperties": False,
        }
        assert await live.call({"book": "Emma", "copies": 2}) == "Order 2 x Emma"
        with pytest.raises(ToolFailed, match=r"book: String should have .*; other: Extra inputs"):
            await live.call({"book": "E", "other": 1})
        with pytest.raises(ToolFailed, match=r"arguments: Value error, at most nine copies"):
            await live.call({"book": "Emma", "copies": 10})
    async with tool(packaged("told"), packages=("acme_tools_for_tests.billing",)) as live:
        assert await live.call({"book": "Emma"}) == "Emma True"
    async with tool(packaged("two"), packages=("acme_tools_for_tests",)) as live:
        assert await live.call({"order": {"book": "Emma"}, "note": "soon"}) == "Emma soon"


@pytest.mark.parametrize("allowed", [(), ("acme",), ("acme_tools_for_test",), ("acme_tools_for_tests.other",)])
@pytest.mark.usefixtures("acme")
async def test_a_package_that_is_not_allowed(tool: Any, allowed: tuple[str, ...]) -> None:
    """Nothing is imported that the daemon's settings do not name."""
    with pytest.raises(
        Permanent, match=r'spec\.package: "acme_tools_for_tests\.billing" is not allowed here'
    ) as caught:
        async with tool(packaged("bill"), packages=allowed):
            pass
    assert "allowPackages" in str(caught.value)
    assert "acme_tools_for_tests" not in sys.modules


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (packaged("gone"), 'has no function "gone"'),
        (packaged("limit"), 'has no function "limit"'),
        (packaged("bill", "acme_tools_for_tests.gone"), "cannot be imported: ModuleNotFoundError"),
        (packaged("bill", "acme_tools_for_tests.broken"), "cannot be imported: OSError: no licence"),
    ],
)
@pytest.mark.usefixtures("acme")
async def test_a_package_that_cannot_be_used(tool: Any, declared: dict[str, object], said: str) -> None:
    """What is wrong with a module or function is found when the tool opens."""
    with pytest.raises(Permanent, match=said):
        async with tool(declared, packages=("acme_tools_for_tests",)):
            pass
