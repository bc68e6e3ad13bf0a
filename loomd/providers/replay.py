"""Replay: a cassette holds the answers. For tests and demonstrations that shall say what a model really said.

A reply is found by the request that it answered, whole: messages, tools, output schema and limits, without secrets. The
same request may be recorded several times; then its replies are given in their order, and from the first again. It
never opens a connection.
"""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
from pydantic import Field

from loomd.cassette import MODEL, Cassette, plain, read, requests
from loomd.errors import Permanent
from loomd.events.event import StepCompleted
from loomd.manifest.inside import inside, named
from loomd.messages import Chunk, Message, Reply, Request, TextDelta, fingerprint
from loomd.providers.base import ProviderSpec, refuse_withdrawn
from loomd.topology import Parts

_SHOWN = 80
"""Characters of a text that an error shows."""


class Replay(ProviderSpec):
    """Answers from a cassette, offline."""

    type: Literal["replay"] = "replay"
    file: str = Field(examples=["recordings/late-fee.json"])
    """Path of a cassette that `loomd export` wrote, from the manifest's root and below it."""

    def check(self, root: Path) -> Iterator[tuple[str, str]]:
        """Yield a cassette that is missing, cannot be read, or holds no reply."""
        try:
            if not Replies(read(inside(root, self.file))).count:
                yield "/file", "expected a cassette with replies of a model, got one without"
        except (Permanent, OSError) as error:
            yield "/file", str(error)

    def reads(self, root: Path) -> Iterator[Path]:
        """Yield the cassette."""
        yield named(root, self.file)

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["ReplayModel", None]:
        """Yield the live model.

        Raises:
            Permanent: the cassette cannot be used.
        """
        try:
            replies = Replies(read(inside(parts.root, self.file)))
        except OSError as error:
            raise Permanent(f"{parts.declared.ref} spec.file: {error}") from error
        yield ReplayModel(f"{parts.name}/replay", self.file, replies, partial(refuse_withdrawn, parts))


class Replies:
    """The replies of a cassette by what was asked."""

    def __init__(self, cassette: Cassette) -> None:
        self._known: dict[str, list[Reply]] = {}
        self._requests: list[Request] = []
        self._given: dict[str, int] = {}
        for taped in cassette.tasks:
            whole = {step.key: request for step, request in requests(taped, cassette.tools)}
            for step in taped.steps:
                if isinstance(step.fact, StepCompleted) and step.fact.name in MODEL:
                    self._add(whole.get(step.key), msgspec.json.decode(step.fact.value, type=Reply))

    def _add(self, request: Request | None, reply: Reply) -> None:
        mark = reply.asked if request is None else fingerprint(plain(request))
        if request is not None:
            self._requests.append(plain(request))
        if mark:
            self._known.setdefault(mark, []).append(msgspec.structs.replace(reply, asked=""))

    @property
    def count(self) -> int:
        """Return how many replies there are."""
        return sum(len(replies) for replies in self._known.values())

    def take(self, request: Request) -> Reply | None:
        """Return the next reply to a request, or None when it was not recorded."""
        for mark in (fingerprint(plain(request)), fingerprint(request)):
            if replies := self._known.get(mark):
                given = self._given[mark] = self._given.get(mark, -1) + 1
                return replies[given % len(replies)]
        return None

    def closest(self, request: Request) -> str:
        """Return how the recorded request that is most like this one differs from it, in a few words."""
        now = plain(request)
        if not self._requests:
            return "of its requests only fingerprints are known"
        near = max(self._requests, key=lambda one: _alike(one, now))
        at = _alike(near, now)
        if at < max(len(near.turns), len(now.turns)):
            before, after = (_said(one.turns[at : at + 1]) for one in (near, now))
            return f"the closest has {before} as message {at + 1}, this one has {after}"
        names = [name for name in Request.__struct_fields__ if getattr(near, name) != getattr(now, name)]
        return f"the closest has other {' and '.join(names).replace('_', ' ')}"


class ReplayModel:
    """A model that says what was recorded."""

    def __init__(self, name: str, file: str, replies: Replies, admit: Callable[[], None] = lambda: None) -> None:
        """Take name, file and replies; `admit` raises when it may not be called any more."""
        self.name = name
        self._file = file
        self._replies = replies
        self._admit = admit

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Answer with the recorded reply.

        Raises:
            Permanent: the request was not recorded, or the provider was withdrawn.
        """
        self._admit()
        reply = self._replies.take(request)
        if reply is None:
            raise Permanent(
                f"{self.name}: {self._file} holds no reply to this request, of {self._replies.count} replies: "
                f"{self._replies.closest(request)}; record the task again with `loomd export`"
            )
        if reply.text:
            yield TextDelta(reply.text)
        yield msgspec.structs.replace(reply, model=self.name)


def _alike(one: Request, other: Request) -> int:
    """Return how many of the first turns are the same."""
    count = 0
    for left, right in zip(one.turns, other.turns, strict=False):
        if left != right:
            break
        count += 1
    return count


def _said(turns: tuple[Message, ...]) -> str:
    if not turns:
        return "nothing"
    text = turns[0].text or ", ".join(f"calls {call.name}" for call in turns[0].tool_calls)
    return f'{turns[0].role} "{text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."}"'
