"""The provider type `replay`: a cassette below the root answers, by request and in order."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loomd.cassette import write
from loomd.errors import Permanent
from loomd.manifest.load import load
from loomd.manifest.problem import Problems
from loomd.manifest.source import SourceFile
from loomd.messages import Message, Passage, Reply, Request, ToolCall, ToolSchema
from loomd.testing import run_manifests
from tests.providers.tapes import tape
from tests.replay.studio import TEAM, furnish, record

SPEC = {"type": "replay", "file": "hello.json"}
HELLO = Request((Message("system", "Be kind."), Message("user", "hello")))


async def ask(model: Any, request: Request) -> Reply:
    """Return the reply to a request."""
    *_, reply = [chunk async for chunk in model.stream(request)]
    assert isinstance(reply, Reply)
    return reply


async def test_the_same_request_is_answered_in_order(provider: Any, tmp_path: Path) -> None:
    """Each recorded reply once, then from the first again; other requests do not disturb it."""
    other = Request((Message("user", "bye"),))
    said = tape((HELLO, Reply("one")), (other, Reply("bye")), (HELLO, Reply("two")))
    (tmp_path / "hello.json").write_bytes(said)
    async with provider(SPEC) as model:
        heard = [(await ask(model, request)).text for request in (HELLO, other, HELLO, other, HELLO)]
    assert heard == ["one", "bye", "two", "bye", "one"]


async def test_scores_and_secrets_are_no_part_of_a_request(provider: Any, tmp_path: Path) -> None:
    """A search may score otherwise, and what was hidden in the cassette is hidden in what is asked."""
    passage = Passage(1, "text", "a.md:1-2", score=0.5)
    asked = Request((Message("user", "key sk-abc123456", passages=(passage,)),))
    recorded = msgspec.structs.replace(
        asked, messages=(Message("user", "key ***", passages=(msgspec.structs.replace(passage, score=0.0),)),)
    )
    (tmp_path / "hello.json").write_bytes(tape((recorded, Reply("yes"))))
    async with provider(SPEC) as model:
        assert (await ask(model, asked)).text == "yes"


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        pytest.param(
            Request((Message("system", "Be rude."), Message("user", "hello"))),
            'the closest has system "Be kind." as message 1, this one has system "Be rude."',
            id="another prompt",
        ),
        pytest.param(
            Request((*HELLO.messages, Message("assistant", "", (ToolCall("1", "add", {}),)))),
            'the closest has nothing as message 3, this one has assistant "calls add"',
            id="one turn more",
        ),
        pytest.param(
            msgspec.structs.replace(HELLO, tools=(ToolSchema("add", "Adds.", {}),), max_tokens=7),
            "the closest has other tools and max tokens",
            id="other tools",
        ),
    ],
)
async def test_what_was_not_recorded_is_refused(request_: Request, said: str, provider: Any, tmp_path: Path) -> None:
    """The message names the cassette and how the closest request differs."""
    (tmp_path / "hello.json").write_bytes(tape((HELLO, Reply("one"))))
    async with provider(SPEC) as model:
        with pytest.raises(Permanent) as refused:
            await ask(model, request_)
    text = str(refused.value)
    assert text.startswith("it/replay: hello.json holds no reply to this request, of 1 replies: ")
    assert said in text


async def test_an_agent_answers_from_a_recording(tmp_path: Path) -> None:
    """A task that was recorded gives the same answer on the real tools, without the model."""
    goal = "What does a book cost that is 12 days late?"
    folder = tmp_path / "recorded"
    folder.mkdir()
    (tmp_path / "late.json").write_bytes(write(await record(folder, goal)))
    furnish(tmp_path)
    first, *others = TEAM.split("---\n", 1)
    text = first.partition("spec:")[0] + "spec: {type: replay, file: late.json}\n---\n" + others[0]
    ran = await run_manifests(text, goal, tmp_path, seed=1)
    assert ran.result.executed is not None
    assert ran.result.executed.outcome.output == "It costs 2.40 euros."
    ran = await run_manifests(text, "What else?", tmp_path)
    assert ran.result.phase == "Failed"
    assert "late.json holds no reply to this request" in ran.result.error


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(None, "got nothing", id="missing"),
        pytest.param(b"{}", "expected apiVersion loomd.dev/v1 and kind Cassette, got none and none", id="another file"),
        pytest.param(b"[1", "is no cassette", id="no JSON"),
        pytest.param(tape(), "expected a cassette with replies of a model, got one without", id="without replies"),
        pytest.param(tape().replace(b'"seed": 0', b'"seed": "x"'), "is no cassette", id="another shape"),
        pytest.param(msgspec.json.encode({**msgspec.json.decode(tape()), "tasks": []}), "expected a task", id="empty"),
    ],
)
async def test_a_cassette_that_cannot_be_used_is_a_problem_of_the_manifest(
    data: bytes | None, said: str, tmp_path: Path
) -> None:
    """Validation tells it at the field."""
    if data is not None:
        await asyncio.to_thread((tmp_path / "hello.json").write_bytes, data)
    text = b"apiVersion: loomd.dev/v1\nkind: Provider\nmetadata: {name: p}\nspec: {type: replay, file: hello.json}\n"
    with pytest.raises(Problems) as wrong:
        load([SourceFile(tmp_path, "p.yaml", text)])
    (problem,) = wrong.value.problems
    assert (problem.pointer, problem.code) == ("/spec/file", "bad-file")
    assert said in problem.message
