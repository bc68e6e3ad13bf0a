"""The programs that measure name what is there: nobody runs them for long times, and then they should run."""

import ast
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from loomd.agents.base import KnowledgeBase, Memory
from loomd.agents.work import Finding
from loomd.clock import Clock
from loomd.knowledge.base import Embedder
from loomd.providers.base import Model

PROJECT = Path(__file__).resolve().parents[2]
PROGRAMS = sorted(path for path in (PROJECT / "benchmarks").rglob("*.py") if "peers" not in path.parts)


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """Yield what a program imports from loomd: module and name."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "loomd":
            yield from ((node.module, one.name) for one in node.names)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_a_program_imports_what_is_there(path: Path) -> None:
    """Whatever moves in the package moves there, too."""
    missing = [
        f"{module}.{name}"
        for module, name in imported(path)
        if not hasattr(import_module(module), name) and find_spec(f"{module}.{name}") is None
    ]
    assert missing == []


FAKES: Mapping[str, Sequence[tuple[type, Callable[[ModuleType], object]]]] = {
    "context/run.py": [
        (KnowledgeBase, lambda program: program.Desk()),
        (Memory, lambda program: program.Desk()),
        (Finding, lambda program: program.Finding("goal", "output")),
        (Model, lambda program: program.Repeater()),
    ],
    "memory/growth.py": [(Embedder, lambda program: program.Made())],
    "retrieval/beside.py": [(Embedder, lambda program: program.Made({"text": np.ones(2)}))],
    "adaptivity/forge.py": [
        (Clock, lambda program: program.Clock()),
        (Model, lambda program: program.Designer([0.5])),
    ],
}
"""What stands for parts of the system in programs that measure, and what of: nobody checks the types there."""


def loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return a program as a module, as if it were run from its folder."""
    path = PROJECT / "benchmarks" / name
    monkeypatch.syspath_prepend(path.parent)
    spec = spec_from_file_location(f"measuring_{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    program = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, program)
    spec.loader.exec_module(program)
    return program


@pytest.mark.parametrize("name", FAKES)
def test_what_stands_for_a_part_has_all_that_the_part_has(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a protocol asks for later is asked of stand-ins in programs that measure, too."""
    program = loaded(name, monkeypatch)
    for protocol, make in FAKES[name]:
        wanted = {one for base in protocol.__mro__ if base is not object for one in vars(base)}
        missing = {one for one in wanted if not one.startswith("_")} - set(dir(make(program)))
        assert not missing, f"{name} for {protocol.__name__}"


async def test_what_a_prompt_holds_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmark of contexts runs an agent on stand-ins for all that it is offered."""
    program = loaded("context/run.py", monkeypatch)
    figures = await program.assembling(1) | await program.workload(2, seed=2)
    assert figures["assemble, tokens"] > 32_000
    assert figures["facts in answers, adaptive shares"] > 0
