import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from loomd.agents.measure import counter_of, window_of
from loomd.clock import SystemClock
from loomd.errors import BadReply, Damaged, LoomdError, NotFound, Permanent, Unreachable
from loomd.messages import (
    Chunk,
    Image,
    JsonObject,
    Message,
    Passage,
    Reply,
    Request,
    TextDelta,
    ToolCall,
    ToolSchema,
    Usage,
)
from loomd.models.llama import Endpoint, Llama, Settings, shared
from loomd.models.place import models_dir
from loomd.models.prompt import Limits
from loomd.models.registry import locate
from loomd.providers.local import LocalModel
from loomd.providers.reach import Reach
from tests.providers.conftest import Open, Service

ADD = ToolSchema(
    "add",
    "Add two numbers.",
    {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]},
)
WEATHER = ToolSchema(
    "get_weather",
    "Tell the current weather in a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
PASSAGES = (
    Passage(1, "The kelp forest off the coast is home to sea otters, which eat urchins.", "kelp.md:1-2", "Kelp"),
    Passage(2, "The lighthouse was built in 1871 and is 42 metres tall.", "lighthouse.md:1-2", "Lighthouse"),
    Passage(3, "Ferries leave the harbour at eight in the morning and at noon.", "ferry.md:1-2", "Ferry"),
)
COUNTS = {"prompt_tokens": 30, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 20}}


class Elsewhere(Llama):
    """A model that is already served at an address."""

    def __init__(self, url: str) -> None:
        super().__init__(Settings(Path("none.gguf"), "it/tiny"))
        self._url = url

    async def endpoint(self) -> Endpoint:
        """Return the given address."""
        return Endpoint(self._url, "the-key")


@pytest.fixture
async def model(service: Service) -> AsyncGenerator[LocalModel, None]:
    """The live model, against a service whose answers the test decides."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        yield LocalModel("it/tiny", Elsewhere(service.url), session, Limits(), 5, Reach(SystemClock()))


def events(*pieces: str, stop: str | None = "stop", usage: bool = True) -> str:
    """Return a stream as the runtime sends it."""
    chunks: list[dict[str, Any]] = [{"choices": [{"delta": {"role": "assistant", "content": None}}]}]
    chunks += [{"choices": [{"delta": {"content": piece}, "finish_reason": None}]} for piece in pieces]
    if stop:
        chunks.append({"choices": [{"delta": {}, "finish_reason": stop}]})
    if usage:
        chunks.append({"choices": [], "usage": COUNTS})
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


async def said(model: Any, request: Request) -> tuple[list[str], Reply]:
    """Return the texts that were streamed and the reply, and check that they agree."""
    chunks: list[Chunk] = [chunk async for chunk in model.stream(request)]
    reply = chunks[-1]
    assert isinstance(reply, Reply)
    texts = [chunk.text for chunk in chunks[:-1] if isinstance(chunk, TextDelta)]
    assert "".join(texts) == reply.text
    return texts, reply


async def test_plain_text_streams(model: LocalModel, service: Service) -> None:
    """Text comes as it is produced; usage, model and stop reason stand in the reply; the key is sent."""
    service.says(events("Hel", "lo"))
    texts, reply = await said(model, Request((Message("user", "Hi"),), temperature=0.3, max_tokens=9))
    assert texts == ["Hel", "lo"]
    assert reply == Reply("Hello", (), Usage(30, 5, 20), "stop", "it/tiny")
    assert service.headers[0]["Authorization"] == "Bearer the-key"
    body = service.bodies[0]
    assert (body["temperature"], body["max_tokens"], "response_format" in body) == (0.3, 9, False)


async def test_a_step_becomes_a_tool_call(model: LocalModel, service: Service) -> None:
    """Constrained steps are asked for at temperature 0, and a call is no text."""
    service.says(events('{"tool": "add", ', '"args": {"a": 1, "b": 2}}'))
    earlier = (Message("user", "a"), Message("assistant", "b"), Message("user", "1 + 2?"))
    texts, reply = await said(model, Request(earlier, (ADD,), temperature=0.9))
    assert texts == []
    assert reply.tool_calls == (ToolCall("call-1-0", "add", {"a": 1, "b": 2}),)
    assert reply.stop == "tool_calls"
    assert service.bodies[0]["temperature"] == 0
    assert service.bodies[0]["response_format"]["type"] == "json_schema"


async def test_an_answer_streams_without_its_wrapping(model: LocalModel, service: Service) -> None:
    """Only the answer's text is streamed, and the mark of its passage comes last."""
    service.says(events('{"ans', 'wer": "It is 42 m', 'etres tall.", "sou', 'rces": [1]}'))
    texts, reply = await said(model, Request((Message("user", "How tall?", passages=PASSAGES),)))
    assert texts == ["It is 42 m", "etres tall.", " [2]"]
    assert reply.stop == "stop"


async def test_what_is_cut_off_says_so(model: LocalModel, service: Service) -> None:
    """An answer at its limit keeps its text and says `length`."""
    service.says(events('{"answer": "It is 42', stop="length"))
    _, reply = await said(model, Request((Message("user", "How tall?", passages=PASSAGES),)))
    assert (reply.text, reply.stop) == ("It is 42", "length")


async def test_structured_output_is_json_text(model: LocalModel, service: Service) -> None:
    """The caller's schema is sent with limits, and its JSON is the text."""
    service.says(events('{"city": ', '"Oslo"}'))
    schema: JsonObject = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    _, reply = await said(model, Request((Message("user", "Which?"),), output_schema=schema))
    assert json.loads(reply.text) == {"city": "Oslo"}
    sent = service.bodies[0]["response_format"]["json_schema"]["schema"]
    assert sent["properties"]["city"]["maxLength"] == 300


async def test_a_format_fault_is_repeated_once(model: LocalModel, service: Service) -> None:
    """The runtime's known fault costs a second call; a second fault is an error."""
    fault = {"error": {"code": 500, "message": "The model output does not match the expected peg-native format"}}
    answers = [web.json_response(fault, status=500), web.Response(text=events("ok"), content_type="text/event-stream")]

    async def answer(_: web.Request) -> web.StreamResponse:
        return answers.pop(0)

    service.handler = answer
    _, reply = await said(model, Request((Message("user", "Hi"),)))
    assert reply.text == "ok"
    service.says(json.dumps(fault), status=500)
    with pytest.raises(BadReply, match="twice"):
        await said(model, Request((Message("user", "Hi"),)))
    assert len(service.bodies) == 4


@pytest.mark.parametrize(
    ("body", "status", "kind", "words"),
    [
        pytest.param(
            {
                "error": {
                    "type": "exceed_context_size_error",
                    "message": "too long",
                    "n_prompt_tokens": 9000,
                    "n_ctx": 8192,
                }
            },
            400,
            Permanent,
            "9000 tokens and the context 8192: raise spec.contextTokens",
            id="overflow",
        ),
        pytest.param({"error": {"message": "Invalid API Key"}}, 401, BadReply, "status 401: Invalid API Key", id="401"),
        pytest.param("<html>", 502, BadReply, "status 502: <html>", id="no-json"),
        pytest.param(events("half", stop=None), 200, Unreachable, "went away", id="no-end"),
        pytest.param('data: {"error": {"message": "boom"}}\n\n', 200, BadReply, "boom", id="error-inside"),
    ],
)
async def test_faults_are_typed(
    model: LocalModel, service: Service, body: object, status: int, kind: type[LoomdError], words: str
) -> None:
    """Every fault of the runtime is an error that says what to do."""
    service.says(body, status=status)
    with pytest.raises(kind, match=words):
        await said(model, Request((Message("user", "Hi"),)))


async def test_no_connection_is_temporary(unused_port: int) -> None:
    """A model whose process is gone may be back at the next call."""
    async with aiohttp.ClientSession() as session:
        model = LocalModel(
            "it/tiny", Elsewhere(f"http://127.0.0.1:{unused_port}"), session, Limits(), 5, Reach(SystemClock())
        )
        with pytest.raises(Unreachable, match="went away"):
            await said(model, Request((Message("user", "Hi"),)))


async def test_it_takes_no_images(model: LocalModel, service: Service) -> None:
    """A picture is refused, not left out."""
    request = Request((Message("user", "What is it?", images=(Image("image/gif", "R0lGODlh"),)),))
    with pytest.raises(Permanent, match="it/tiny takes no images"):
        await said(model, request)
    assert not service.bodies


async def test_a_model_without_weights_says_the_command(provider: Open) -> None:
    """Opening names the command that fetches the model."""
    with pytest.raises(NotFound, match=r"run: loomd models pull qwen2\.5-coder-0\.5b"):
        async with provider({"type": "local"}):
            raise AssertionError


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        pytest.param("../x.gguf", Permanent, "leaves the manifest's folder", id="outside"),
        pytest.param("none.gguf", NotFound, "does not exist", id="missing"),
        pytest.param("bad.gguf", Damaged, "is no GGUF file", id="no-model"),
    ],
)
async def test_a_path_is_checked(provider: Open, tmp_path: Path, path: str, kind: type[LoomdError], words: str) -> None:
    """A path stays below the manifest's folder, exists, and holds a model."""
    (tmp_path / "bad.gguf").write_bytes(b"not a model")
    with pytest.raises(kind, match=words):
        async with provider({"type": "local", "model": path}):
            raise AssertionError


@pytest.fixture
def weights() -> Path:
    """The default model's file."""
    return locate("qwen2.5-coder-0.5b", models_dir())


@pytest.mark.embedded
@pytest.mark.timeout(300)
class TestEmbedded:
    """The real model, in its real process."""

    async def test_it_calls_a_tool_answers_and_cites(self, provider: Open, weights: Path) -> None:
        """The right tool with the right arguments, the result in the answer, the right passage, the caller's schema."""
        async with provider({"type": "local", "model": str(weights)}) as model:
            asked = (Message("user", "How is the weather in Rome right now?"),)
            _, reply = await said(model, Request(asked, (ADD, WEATHER), max_tokens=200))
            assert [(call.name, call.arguments) for call in reply.tool_calls] == [("get_weather", {"city": "Rome"})]
            result = Message("tool", "sunny, 24 degrees", call_id=reply.tool_calls[0].id)
            later = (*asked, Message("assistant", "", reply.tool_calls), result)
            _, reply = await said(model, Request(later, (ADD, WEATHER), max_tokens=200))
            assert "24" in reply.text
            assert reply.usage.cached > 0
            question = Message("user", "How tall is the lighthouse?", passages=PASSAGES)
            texts, reply = await said(model, Request((question,), max_tokens=200))
            assert "42" in reply.text
            assert reply.text.endswith("[2]")
            assert len(texts) > 3
            schema: JsonObject = {"type": "object", "properties": {"year": {"type": "integer"}}, "required": ["year"]}
            when = Message("user", "In which year was it built? It was built in 1871.")
            _, reply = await said(model, Request((when,), output_schema=schema, max_tokens=50))
            assert json.loads(reply.text) == {"year": 1871}

    async def test_it_counts_as_it_reads(self, provider: Open, weights: Path) -> None:
        """The tokens of a text by the model's own tokenizer: what a request of it reports, beside its form."""
        async with provider({"type": "local", "model": str(weights)}) as model:
            assert window_of(model) == 8192
            count = counter_of(model)
            assert count is not None
            forms: list[int] = []
            for text in ("Hello.", "The lighthouse was built in 1871. " * 8):
                _, reply = await said(model, Request((Message("user", text),), max_tokens=1))
                forms.append(reply.usage.input - await count(text))
            assert 0 < forms[0] < 60
            assert forms[0] == forms[1]
            assert await count("") == 0

    async def test_too_much_is_refused_with_the_field_to_change(self, provider: Open, weights: Path) -> None:
        """A request beyond the context names the field that sets it; a short limit cuts with `length`."""
        async with provider({"type": "local", "model": str(weights), "contextTokens": 512}) as model:
            with pytest.raises(Permanent, match=r"raise spec\.contextTokens"):
                await said(model, Request((Message("user", "word " * 2000),)))
            _, reply = await said(model, Request((Message("user", "Count from 1 to 50."),), max_tokens=8))
            assert reply.stop == "length"

    async def test_a_killed_process_starts_again(self, weights: Path) -> None:
        """A death during an answer is temporary, and the next call is answered by a new process."""
        settings = Settings(weights, "it/qwen", context=1024)
        async with shared(settings) as llama, shared(settings) as same, aiohttp.ClientSession() as session:
            assert same is llama
            model = LocalModel("it/qwen", llama, session, Limits(), 60, Reach(SystemClock()))
            await llama.endpoint()
            first = llama.pid
            assert first is not None
            long = model.stream(Request((Message("user", "Count from 1 to 100."),), max_tokens=400))
            assert isinstance(await anext(long), TextDelta)
            os.kill(first, signal.SIGKILL)
            with pytest.raises(Unreachable, match="went away"):
                [chunk async for chunk in long]
            _, reply = await said(model, Request((Message("user", "Say ok."),), max_tokens=5))
            assert reply.text
            assert llama.pid not in {None, first}
        assert llama.pid is None

    def test_it_dies_with_its_parent(self, weights: Path) -> None:
        """When the parent is killed outright, the child ends too; the key is in neither arguments nor environment."""
        code = f"""
import asyncio, pathlib, time
from loomd.models.llama import Settings, shared
async def main():
    async with shared(Settings(pathlib.Path({str(weights)!r}), 'q', context=512)) as llama:
        key = (await llama.endpoint()).key
        proc = pathlib.Path(f'/proc/{{llama.pid}}')
        assert key.encode() not in (proc / 'cmdline').read_bytes() + (proc / 'environ').read_bytes()
        print(llama.pid, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:  # noqa: S603  # our own program
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            handle = os.pidfd_open(child)
            parent.kill()
        asyncio.run(_ends(handle))


async def _ends(handle: int) -> None:
    """Wait until the process behind a handle has ended."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(handle, ended.set)
    async with asyncio.timeout(60):
        await ended.wait()
    asyncio.get_running_loop().remove_reader(handle)
    os.close(handle)


@pytest.mark.timeout(300)
async def test_a_model_that_keeps_dying_is_given_up(tmp_path: Path) -> None:
    """A file that cannot be loaded is an error with the process's last words, and starts are counted."""
    pytest.importorskip("xllamacpp")
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF but not really")
    async with shared(Settings(bad, "it/bad", restarts=0)) as llama:
        with pytest.raises(Permanent, match="could not be loaded"):
            await llama.endpoint()
        with pytest.raises(Permanent, match="died 1 times within 300 s"):
            await llama.endpoint()
