"""A system inside a Python program: what the docs show, with a scripted model."""

import asyncio
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import pytest

import loomd
from loomd.amoeba.task import Budget
from loomd.api.client import Client
from loomd.cli import conversation, once
from loomd.errors import Conflict, LoomdError, NotFound, Permanent
from loomd.events.event import ApprovalRequested, Event, KnowledgeSearched, ModelDelta, TaskFailed, TaskStarted
from loomd.manifest.problem import Problems
from tests.sources.remotes import Repository

ROOT = Path(__file__).parents[2]

TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: model}
spec:
  type: scripted
  replies:
    - {when: rain, text: "It rains in Paris."}
    - {when: write, times: 1, toolCalls: [{name: note, arguments: {text: hello}}]}
    - {when: write, text: "Noted it."}
    - {when: hang, delay: 1h, text: late}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: note}
spec: {type: python, file: note.py, function: note, effects: write, approval: {required: always}}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: clerk}
spec: {provider: model, tools: [note]}
"""

NOTE = '''
from pathlib import Path

def note(text: str) -> str:
    """Notes a text."""
    Path({path!r}).write_text(text)
    return "noted"
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of manifests: an agent with a scripted model, and a tool that people must agree to."""
    place = tmp_path / "agents"
    place.mkdir()
    (place / "team.yaml").write_text(TEAM)
    (place / "note.py").write_text(NOTE.format(path=str(tmp_path / "noted")))
    return place


async def test_run_returns_the_answer(folder: Path, tmp_path: Path) -> None:
    """A task runs to its end; one that did not come to its end goes on when the folder is opened again."""
    async with loomd.open(folder, state=tmp_path / "state") as system:
        result = await system.run("Does it rain?", seed=1, budget=Budget(tokens=1000))
        assert (result.phase, result.output, result.task.seed) == ("Succeeded", "It rains in Paris.", 1)
        task = await system.submit("hang")
    async with loomd.open(folder, state=tmp_path / "state") as system:
        with pytest.raises(NotFound, match="no such task"):
            await system.result("t0")
        assert await system.resume() == [task]
        assert await system.resume() == []
        await system.system.engine.cancel(task)
        assert (await system.result(task)).phase == "Cancelled"


async def test_stream_yields_the_events_of_one_task(folder: Path, tmp_path: Path) -> None:
    """Beside another task only its own events come, the pieces of the answer among them, and it ends by itself."""
    heard: list[Event] = []
    async with loomd.open(folder, state=tmp_path / "state", listener=heard.append) as system:
        other = await system.submit("Does it rain elsewhere?")
        events = [event async for event in system.stream("Does it rain?")]
        await system.result(other)
    assert {event.task for event in events} == {events[0].task} != {other}
    assert isinstance(events[0].data, TaskStarted)
    assert "".join(event.data.text for event in events if isinstance(event.data, ModelDelta)) == "It rains in Paris."
    assert {event.task for event in heard} > {events[0].task, other}


async def test_who_stops_reading_cancels(folder: Path, tmp_path: Path) -> None:
    """A task whose reader goes away does not run on unseen."""
    async with loomd.open(folder, state=tmp_path / "state") as system:
        async with aclosing(system.stream("hang")) as events:
            task = (await anext(events)).task
        async with asyncio.timeout(60):
            assert (await system.result(task)).phase == "Cancelled"


async def test_who_stops_waiting_cancels(folder: Path, tmp_path: Path) -> None:
    """A task that was run, not submitted, ends with the call that runs it; one that was submitted by `cancel`."""
    heard: list[Event] = []
    async with loomd.open(folder, state=tmp_path / "state", listener=heard.append) as system:
        began = asyncio.ensure_future(system.run("hang"))
        await asyncio.sleep(0)
        began.cancel()  # while it is submitted
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await system.run("hang")
        with pytest.raises(asyncio.CancelledError):
            await began
        task = await system.submit("hang")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await system.result(task)
        assert system.system.engine.running == 1
        await system.cancel(task)
        assert (await system.result(task)).phase == "Cancelled"
        with pytest.raises(NotFound, match="is not running"):
            await system.cancel(task)
        for wrong in (None, 5):
            with pytest.raises(Permanent, match=f"goal: expected what is wanted, in words; got {wrong}"):
                await system.run(wrong)  # type: ignore[arg-type]  # no type checker has seen it
    ends = {event.task: event.data.stop_reason for event in heard if isinstance(event.data, TaskFailed)}
    assert ends == {event.task: "cancelled" for event in heard if isinstance(event.data, TaskStarted)}
    assert task in ends


async def test_questions_are_answered_by_the_program(folder: Path, tmp_path: Path) -> None:
    """A tool that people must agree to waits for `decide`, which is taken once."""
    async with loomd.open(folder, state=tmp_path / "state") as system:
        task = ""
        async for event in system.stream("write"):
            task = event.task
            if isinstance(event.data, ApprovalRequested):
                assert not (tmp_path / "noted").exists()
                await system.decide(event.data.approval, agreed=True, by="anna")
                with pytest.raises(Conflict):
                    await system.decide(event.data.approval, agreed=False)
        assert (await system.result(task)).output == "Noted it."
    assert (tmp_path / "noted").read_text() == "hello"


async def test_refused_manifests_leave_what_served(folder: Path, tmp_path: Path) -> None:
    """`apply` takes over what was edited; what is not valid is told and changes nothing."""
    async with loomd.open(folder, state=tmp_path / "state") as system:
        (folder / "team.yaml").write_text(TEAM.replace("in Paris", "in Rome"))
        await system.apply()
        assert (await system.run("Does it rain?")).output == "It rains in Rome."
        (folder / "team.yaml").write_text(TEAM.replace("provider: model", "provider: modell"))
        with pytest.raises(Problems, match=r'did you mean "model"'):
            await system.apply()
        assert (await system.run("Does it rain?")).output == "It rains in Rome."


def test_importing_the_package_loads_nothing() -> None:
    """`import loomd` stays free; `loomd.open` loads the rest when it is asked for."""
    code = (
        "import sys, loomd; assert 'loomd.daemon' not in sys.modules; loomd.open; assert 'loomd.daemon' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603  # our own words
    with pytest.raises(AttributeError, match="opne"):
        _ = loomd.opne


async def test_the_program_of_the_guide_runs(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program in the guide does what it says, word for word."""
    (folder / "team.yaml").write_text(TEAM.replace("when: rain", 'when: ""'))
    text = (ROOT / "docs" / "howto" / "embed-in-python.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=folder.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said, _ = await process.communicate()
    lines = said.decode().splitlines()
    assert (lines[0], lines[-1]) == ("Succeeded It rains in Paris.", "task.completed"), said
    assert "model.delta" in lines


READER = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: reader}
spec: {type: scripted, replies: [{when: purr, text: "Cats purr [1].", times: null}]}
---
apiVersion: loomd.dev/v1
kind: Embedder
metadata: {name: words}
spec: {type: hash}
---
apiVersion: loomd.dev/v1
kind: KnowledgeBase
metadata: {name: pets}
spec: {sources: [{type: git, url: "file://REMOTE"}], embedder: words}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: librarian}
spec: {provider: reader, knowledge: [pets]}
"""


async def test_documents_that_are_fetched_are_waited_for(tmp_path: Path) -> None:
    """The first task already reads them; when they cannot be had, opening says so."""
    remote = Repository(tmp_path / "remote")
    remote.publish({"cats.md": b"# Cats\n\nCats purr.\n"})
    place = tmp_path / "agents"
    place.mkdir()
    (place / "pets.yaml").write_text(READER.replace("REMOTE", str(remote.bare)))
    heard: list[Event] = []
    async with loomd.open(place, state=tmp_path / "state", listener=heard.append) as system:
        result = await system.run("Do cats purr?")
        assert result.output == "Cats purr [1]."
        (searched,) = [event.data for event in heard if isinstance(event.data, KnowledgeSearched)]
        assert searched.sources == (f"file://{remote.bare}@main/cats.md:3-3",)
    (place / "pets.yaml").write_text(READER.replace("REMOTE", f"{remote.bare}x"))
    with pytest.raises(LoomdError, match=r"pets\.yaml.*KnowledgeBase/pets spec\.sources\[0\]"):
        async with loomd.open(place, state=tmp_path / "other"):
            pass


LIBRARY = """
apiVersion: loomd.dev/v1
kind: Embedder
metadata: {name: words}
spec: {type: wordllama}
---
apiVersion: loomd.dev/v1
kind: KnowledgeBase
metadata: {name: docs}
spec: {embedder: words, sources: [{path: docs}]}
"""


def test_without_an_agent_nothing_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs a task, or talks, is told that nobody takes it before a document is embedded."""
    (tmp_path / "agents" / "docs").mkdir(parents=True)
    (tmp_path / "agents" / "docs" / "a.md").write_text("# A\n\nWords.")
    (tmp_path / "agents" / "docs.yaml").write_text(LIBRARY)

    def opened(*_: object) -> None:
        raise AssertionError("it was opened")

    monkeypatch.setattr("loomd.knowledge.spec.KnowledgeBaseSpec.open", opened)
    for verb in (once, conversation):
        monkeypatch.setattr(verb, "collect_seldom", lambda: None)
    place, state = tmp_path / "agents", tmp_path / "state"
    with pytest.raises(NotFound, match='namespace "default" has no agents'):
        once.run(place, {"goal": "Hello?"}, "default", state, quiet=True, output="text")
    setting = conversation.Setting("", "", "default", "", place, state, Client(tmp_path / "socket"))
    with pytest.raises(NotFound, match='namespace "default" has no agents'):
        conversation.converse(setting)
