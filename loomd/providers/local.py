"""Local: the embedded language model, offline and without a key, in a process of its own.

A small model is led by constrained steps with worked examples (`loomd.models.prompt`); what it writes is read while it
comes (`loomd.models.answer`). This module carries requests to the process and translates its answers; it decides no
prompt, and it never repeats a call except for one known fault of the runtime.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from loomd.errors import BadReply, Damaged, NotFound, Permanent, Unreachable
from loomd.manifest.quantity import Duration, Tokens
from loomd.messages import Chunk, Reply, Request, TextDelta, ToolCall, Usage
from loomd.models.answer import StepReader
from loomd.models.llama import Llama, Settings, shared
from loomd.models.prompt import Limits, Prompt, added, build
from loomd.models.registry import locate
from loomd.providers.base import Counts, ProviderSpec, refuse_images, refuse_withdrawn, sane_usage
from loomd.providers.reach import Reach
from loomd.topology import Parts

if TYPE_CHECKING:
    import aiohttp

_FORMAT_FAULT = "does not match the expected"
_OVERFLOW = "exceed_context_size"


class Local(ProviderSpec):
    """The embedded model: answers offline, from weights on this machine."""

    type: Literal["local"] = "local"
    model: str = "qwen2.5-coder-0.5b"
    """Name of a model of `loomd models list`, or a path to a `.gguf` file."""
    context_tokens: Tokens = 8192
    """Tokens of context that the requests answered at once share: question, history and answer."""
    parallel: int = Field(default=2, ge=1, le=64)
    """How many requests are answered at once; more wait."""
    threads: int = Field(default=0, ge=0, le=256)
    """Processor threads; 0 means the processors this process may use, at most 8."""
    start_timeout: Duration = Field(default=120.0, gt=0)
    """How long the model may take to load."""
    deadline: Duration = Field(default=300.0, gt=0)
    """How long one answer may take in all."""
    restarts: int = Field(default=5, ge=0)
    """How often the model's process may be started again within 5 minutes after it died."""
    answer_length: int = Field(default=600, ge=20, le=20_000)
    """Characters that an answer may have when it is given as a step: with tools or with passages."""
    text_length: int = Field(default=300, ge=10, le=20_000)
    """Characters of any other string that the model fills in, unless the schema says its own limit."""
    list_length: int = Field(default=8, ge=1, le=1000)
    """Members of any list that the model fills in, unless the schema says its own limit."""

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["LocalModel", None]:
        """Yield the live model. Its process starts with the first request.

        Raises:
            NotFound: the weights are not on this machine; the text says what to run.
            Damaged: the file holds no model.
            Permanent: the runtime is not installed.
        """
        import aiohttp  # noqa: PLC0415  # heavy, and only a running system needs it

        path = _weights(self.model, parts)
        settings = Settings(
            model=path,
            name=f"{parts.name}/{path.stem if self.model.endswith('.gguf') else self.model}",
            context=self.context_tokens,
            parallel=self.parallel,
            threads=self.threads,
            start_timeout=self.start_timeout,
            restarts=self.restarts,
        )
        limits = Limits(self.answer_length, self.text_length, self.list_length)
        wait = aiohttp.ClientTimeout(total=self.deadline)
        # A connection for every call: the runtime closes idle ones, and a request must never meet one that is closing.
        fresh = aiohttp.TCPConnector(force_close=True)
        async with shared(settings) as llama, aiohttp.ClientSession(connector=fresh, timeout=wait) as session:
            reach = Reach(parts.services.clock, partial(refuse_withdrawn, parts))
            model = LocalModel(settings.name, llama, session, limits, self.deadline, reach)
            model.window = self.context_tokens
            yield model


def _weights(model: str, parts: Parts) -> Path:
    """Return the file of a model: by name, by absolute path, or by path below the manifest's folder."""
    if not model.endswith(".gguf"):
        return locate(model, parts.services.models_dir)
    path = (parts.root / model).resolve()
    if not Path(model).is_absolute() and not path.is_relative_to(parts.root.resolve()):
        raise Permanent(f"Provider/{parts.name} spec.model: {model} leaves the manifest's folder {parts.root}")
    if not path.is_file():
        raise NotFound(f"Provider/{parts.name} spec.model: {path} does not exist")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise Damaged(f"Provider/{parts.name} spec.model: {path} is no GGUF file")
    return path


@dataclass
class _Call:
    """What one call has brought so far."""

    reader: StepReader
    stop: str = ""
    usage: dict[str, Any] = field(default_factory=dict)


class LocalModel:
    """The embedded model, as the rest of loomd talks to it."""

    def __init__(
        self,
        name: str,
        llama: Llama,
        session: "aiohttp.ClientSession",
        limits: Limits,
        deadline: float,
        reach: Reach,
    ) -> None:
        self.name = name
        self.window: int | None = None
        self.health = reach.health
        self._reach = reach
        self._llama = llama
        self._session = session
        self._limits = limits
        self._deadline = deadline

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """Answer with the embedded model.

        Raises:
            Permanent: the request does not fit the context or shows images, or the model cannot be loaded.
            BadReply: the model's output cannot be used.
            Unreachable: the model's process died or took too long; the next call starts it again.
        """
        refuse_images(self.name, request)
        prompt = build(request, self._limits)
        call = _Call(StepReader(prompt.stepwise))
        with self._reach:
            try:
                async for piece in self._pieces(request, prompt, call):
                    yield piece
            except _FormatFault:
                call = _Call(StepReader(prompt.stepwise))
                try:
                    async for piece in self._pieces(request, prompt, call):
                        yield piece
                except _FormatFault as error:
                    raise BadReply(f"{self.name}: {error}") from error
            reply = self._reply(request, prompt, call)
        if rest := reply.text[len(call.reader.text) :]:
            yield TextDelta(rest)
        yield reply

    def added(self, request: Request) -> int:
        """Return the characters that the model's prompt has beside what the request brings: rules, worked examples."""
        return added(request)

    async def count(self, text: str) -> int:
        """Return how many tokens a text has for this model.

        Raises:
            Unreachable: the model's process does not answer.
        """
        import aiohttp  # noqa: PLC0415  # loaded by open()

        endpoint = await self._llama.endpoint()
        headers = {"Authorization": f"Bearer {endpoint.key}"}
        try:
            async with self._session.post(
                f"{endpoint.url}/tokenize", headers=headers, json={"content": text}
            ) as answer:
                answer.raise_for_status()
                return len((await answer.json())["tokens"])
        except (TimeoutError, aiohttp.ClientError) as error:
            raise Unreachable(f"{self.name}: the model's process did not count tokens: {error}") from error

    async def _pieces(self, request: Request, prompt: Prompt, call: _Call) -> AsyncIterator[TextDelta]:
        """Yield the answer's text as it comes, and fill in the call."""
        import aiohttp  # noqa: PLC0415  # loaded by open()

        endpoint = await self._llama.endpoint()
        try:
            async with self._session.post(
                f"{endpoint.url}/v1/chat/completions",
                headers={"Authorization": f"Bearer {endpoint.key}"},
                json=_body(request, prompt),
            ) as response:
                if response.status != 200:
                    raise self._refusal(response.status, await response.text())
                async for event in _events(response.content):
                    if "error" in event:
                        raise self._refusal(500, json.dumps(event["error"]))
                    if added := _take(event, call):
                        yield TextDelta(added)
        except TimeoutError as error:
            raise Unreachable(f"{self.name}: no answer within {self._deadline:g} s; raise spec.deadline") from error
        except aiohttp.ClientError as error:
            await self._llama.settle()
            words = self._llama.last_words()
            raise Unreachable(
                f"{self.name}: the model's process went away during the answer ({type(error).__name__}); the next call "
                f"starts it again{f'; it said: {words}' if words else ''}"
            ) from error
        if not call.stop:
            raise Unreachable(f"{self.name}: the answer ended without a reason: the model's process went away")

    def _refusal(self, status: int, body: str) -> Exception:
        if _FORMAT_FAULT in body:
            return _FormatFault("the runtime could not read what the model wrote, twice")
        message, counts = _error_of(body)
        if _OVERFLOW in body:
            return Permanent(
                f"{self.name}: the request has {counts.get('n_prompt_tokens', 'more')} tokens and the context "
                f"{counts.get('n_ctx', 'fewer')}: raise spec.contextTokens, or give it less (history, passages, tools)"
            )
        return BadReply(f"{self.name}: the runtime answered with status {status}: {message}")

    def _reply(self, request: Request, prompt: Prompt, call: _Call) -> Reply:
        """Return the whole answer, of the form that was asked for."""
        reader = call.reader
        counts = call.usage
        details = counts.get("prompt_tokens_details") or {}
        reported = Counts(counts.get("prompt_tokens"), counts.get("completion_tokens"), details.get("cached_tokens"), 0)
        usage = sane_usage(reported, request, len(reader.raw))
        cut = call.stop == "length"
        if not prompt.stepwise:
            return Reply(reader.text, (), usage, "length" if cut else "stop", self.name)
        return self._step(request, prompt, reader, usage, cut=cut)

    def _step(self, request: Request, prompt: Prompt, reader: StepReader, usage: Usage, *, cut: bool) -> Reply:
        step = reader.step()
        if step is None:
            if not cut:
                raise BadReply(f"{self.name}: the model's step is no JSON object: {reader.raw[:200]!r}")
            return Reply(reader.text, (), usage, "length", self.name)
        if "tool" in step:
            turn = sum(message.role == "assistant" for message in request.messages)
            call = ToolCall(f"call-{turn}-0", str(step["tool"]), dict(step.get("args") or {}))
            return Reply("", (call,), usage, "tool_calls", self.name)
        full = isinstance(answer := step.get("answer"), str) and len(answer) >= self._limits.answer
        return Reply(prompt.finish(step), (), usage, "length" if full else "stop", self.name)


class _FormatFault(Exception):
    """The runtime's own parser refused what its grammar let the model write."""


def _body(request: Request, prompt: Prompt) -> dict[str, Any]:
    body: dict[str, Any] = {
        "messages": prompt.turns,
        "max_tokens": request.max_tokens,
        "temperature": 0.0 if prompt.schema is not None else request.temperature or 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if prompt.schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "step", "schema": prompt.schema}}
    return body


async def _events(content: "aiohttp.StreamReader") -> AsyncIterator[dict[str, Any]]:
    """Yield the objects of a server-sent event stream."""
    async for line in content:
        text = line.strip()
        if text.startswith(b"data:") and text != b"data: [DONE]":
            value = json.loads(text[5:])
            if isinstance(value, dict):
                yield value
        elif text.startswith(b"error:"):
            yield {"error": json.loads(text[6:])}


def _take(event: dict[str, Any], call: _Call) -> str:
    """Take what one event says and return what it adds to the answer's text."""
    if event.get("usage"):
        call.usage = event["usage"]
    added = ""
    for choice in event.get("choices") or ():
        added += call.reader.feed((choice.get("delta") or {}).get("content") or "")
        call.stop = choice.get("finish_reason") or call.stop
    return added


def _error_of(body: str) -> tuple[str, dict[str, Any]]:
    """Return the message and the fields of an error body."""
    try:
        error = json.loads(body)
    except json.JSONDecodeError:
        return body[:300], {}
    error = error.get("error", error) if isinstance(error, dict) else {}
    return (str(error.get("message", body[:300])), error) if isinstance(error, dict) else (body[:300], {})
