"""Embeds the passages of documents in calls, and hands on each document once its vectors are whole.

As many calls are under way as the embedder takes, from one document to the next, while vectors are kept and documents
written. What a service answered is kept at once: a process may die at any time; what an embedder of this machine made
is kept about every second, so that a fast one is never waited for. What another knowledge base of this process asks for
is not asked for again. A text that the embedder refuses costs its own document alone. Knows no store. Called by a
knowledge base.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from loomd.errors import BadReply, Permanent
from loomd.knowledge.formats.base import cite
from loomd.knowledge.ingest import Unreadable
from loomd.knowledge.survey import Pending, embedded_text

if TYPE_CHECKING:
    from loomd.knowledge.base import Vectors

BATCH = 256
"""Passages that are written in one transaction, at least; texts that an embedder that does not say is given at once."""
EVERY = 1.0
"""Seconds after which vectors are kept that were made on this machine."""
_PLAIN = "text"
"""What no embedder refuses that works at all."""

Vectored = dict[bytes, bytes]
"""Vectors as they are stored, by the digest of what was embedded."""


def encode(vectors: "Vectors") -> list[bytes]:
    """Return the stored form of each row."""
    return [row.tobytes() for row in vectors.astype("<f2")]


class Calls(NamedTuple):
    """How an embedder is asked.

    Attributes:
        batch: texts of one call.
        most: calls that may be under way at once.
        every: seconds after which vectors that have come are kept; 0 for at once.
    """

    batch: int = BATCH
    most: int = 1
    every: float = EVERY

    @classmethod
    def of(cls, embedder: object) -> "Calls":
        """Return how an embedder is asked: a service says it, one of this machine does not."""
        batch = getattr(embedder, "batch", None)
        if batch is None:
            return cls(getattr(embedder, "step", BATCH))
        return cls(batch, getattr(embedder, "calls", 1), 0.0)


class Hands(NamedTuple):
    """Who takes what has come.

    Attributes:
        keep: takes vectors whose documents are not written yet: those that are new, and how many there are of all.
        write: takes documents whose vectors are whole, with these, and how many passages are done with that.
        known: returns those vectors that are stored.
        may: returns whether more may be asked for.
    """

    keep: Callable[[Vectored, int], Awaitable[object]]
    write: Callable[[Sequence[Pending], Vectored, int], Awaitable[object]]
    known: Callable[[Sequence[bytes]], Awaitable[Vectored]]
    may: Callable[[], bool] = lambda: True


class _Answer(NamedTuple):
    """What came of a call: vectors, how many of them were made for it, and why there is none of other texts."""

    vectors: Vectored
    made: int
    refused: dict[bytes, str]


_UNDER_WAY: dict[bytes, asyncio.Future[_Answer]] = {}
"""The calls of this process, by the digests of what is embedded, until their vectors are stored."""
_ARRIVING: set["Arriving"] = set()


class Arriving:
    """Embeds documents.

    Args:
        embed: returns a vector of each text.
        calls: how it is asked.
        hands: who takes what has come.

    Attributes:
        made: vectors that were made.
        left_out: documents with a text that the embedder refuses, and why.
        waiting: digests of what was embedded for these: their vectors are kept for when they are mended.
    """

    def __init__(self, embed: Callable[[Sequence[str]], Awaitable["Vectors"]], calls: Calls, hands: Hands) -> None:
        self.made = 0
        self.left_out: list[Unreadable] = []
        self.waiting: set[bytes] = set()
        self._embed = embed
        self._calls = calls
        self._hands = hands
        self._documents: deque[Pending] = deque()
        """Those of which nothing is asked for yet."""
        self._drawn: deque[Pending] = deque()
        """Those that are asked for and not written, and how many passages they have."""
        self._unwritten = 0
        self._uses: Counter[bytes] = Counter()
        """How many passages are not written, by what is embedded for them."""
        self._texts: dict[bytes, str] = {}
        """What is to be asked for, or is under way."""
        self._queue: deque[bytes] = deque()
        self._own: set[asyncio.Future[_Answer]] = set()
        self._shared: dict[asyncio.Future[_Answer], list[bytes]] = {}
        """Calls of others that are waited for, and for what."""
        self._vectors: Vectored = {}
        self._refused: dict[bytes, str] = {}
        self._unkept: Vectored = {}
        self._came: set[bytes] = set()
        self._claimed: dict[bytes, asyncio.Future[_Answer]] = {}
        self._kept_at = 0.0
        self._beside = False
        """Whether another one was at work, too, since this one began."""

    async def embed(self, documents: Sequence[Pending]) -> None:
        """Have documents written with their vectors.

        Once no more may be asked for, what is under way is still waited for, and the rest is left.

        Raises:
            LoomdError: what the embedder raised; what came before is kept.
        """
        for other in _ARRIVING:
            other._beside = True  # noqa: SLF001  # of the same class
        self._beside = bool(_ARRIVING)
        _ARRIVING.add(self)
        try:
            self._documents.extend(documents)
            self._uses.update(key for document in documents for key, _ in document.chunks)
            self._vectors |= await self._hands.known(list(self._uses))
            await self._work()
        finally:
            _ARRIVING.discard(self)
            for call in self._own:
                call.cancel()
            await asyncio.gather(*self._own, return_exceptions=True)
            try:
                await self._keep()
            finally:
                self._release(list(self._claimed))

    async def _work(self) -> None:
        clock = asyncio.get_running_loop().time
        self._kept_at = clock()
        while True:
            self._start()
            pending = {*self._own, *self._shared}
            await self._write(BATCH if pending else 1)
            if pending:
                longest = self._calls.every if self._unkept else None
                done, _ = await asyncio.wait(pending, timeout=longest, return_when=asyncio.FIRST_COMPLETED)
                failed = [error for call in done if (error := self._take(call)) is not None]
                if failed:
                    raise failed[0]
                self._start()  # before what has come is kept: the embedder is not to wait for that
                if clock() - self._kept_at >= self._calls.every:
                    await self._keep()
            elif not (self._documents and self._hands.may()):
                return

    def _start(self) -> None:
        """Ask for as much as may be under way."""
        while len(self._own) < self._calls.most and self._hands.may():
            part: list[bytes] = []
            self._draw()
            while self._queue and len(part) < self._calls.batch:
                key = self._queue.popleft()
                call = _UNDER_WAY.get(key)
                if call is None or (call.done() and (call.cancelled() or call.exception() is not None)):
                    part.append(key)
                else:
                    self._shared.setdefault(call, []).append(key)
                self._draw()
            if len(part) < self._calls.batch and self._documents and (self._own or self._shared):
                self._queue.extendleft(reversed(part))  # more can be asked for together once something is written
                return
            if not part:
                return
            call = asyncio.ensure_future(self._ask({key: self._texts[key] for key in part}))
            self._own.add(call)
            claimed = dict.fromkeys(part, call)
            self._claimed |= claimed
            _UNDER_WAY.update(claimed)

    def _draw(self) -> None:
        """Take documents until there is enough to ask for, or as much as may wait to be written."""
        most = BATCH + 2 * self._calls.most * self._calls.batch
        while self._documents and len(self._queue) < self._calls.batch and self._unwritten < most:
            document = self._documents.popleft()
            self._drawn.append(document)
            self._unwritten += len(document.chunks)
            for key, chunk in document.chunks:
                if not (key in self._vectors or key in self._texts or key in self._refused):
                    self._texts[key] = embedded_text(chunk)
                    self._queue.append(key)

    async def _ask(self, texts: Mapping[bytes, str]) -> _Answer:
        """Return what comes of texts; of those that another one has stored meanwhile, what is stored."""
        found = await self._hands.known(list(texts)) if self._beside else {}
        missing = {key: text for key, text in texts.items() if key not in found}
        if not missing:
            return _Answer(found, 0, {})
        try:
            made = await self._made_of(missing)
        except Permanent as error:
            if not _is_refusal(error) or not await self._works():
                raise
            made = await self._halved(missing, error)
        return _Answer(found | made.vectors, len(made.vectors), made.refused)

    async def _made_of(self, texts: Mapping[bytes, str]) -> _Answer:
        vectors = encode(await self._embed(list(texts.values())))
        return _Answer(dict(zip(texts, vectors, strict=True)), len(texts), {})

    async def _halved(self, texts: Mapping[bytes, str], refusal: Permanent) -> _Answer:
        """Return what comes of texts that were refused together: at most twice as many calls as there are texts."""
        keys = list(texts)
        if len(keys) == 1:
            return _Answer({}, 0, {keys[0]: str(refusal)})
        vectors, refused = Vectored(), dict[bytes, str]()
        middle = len(keys) // 2
        for part in (keys[:middle], keys[middle:]):
            half = {key: texts[key] for key in part}
            try:
                answer = await self._made_of(half)
            except Permanent as error:
                if not _is_refusal(error):
                    raise
                answer = await self._halved(half, error)
            vectors |= answer.vectors
            refused |= answer.refused
        return _Answer(vectors, len(vectors), refused)

    async def _works(self) -> bool:
        """Return whether the embedder makes vectors at all, so that what it refused is the fault of a text."""
        try:
            await self._embed([_PLAIN])
        except Permanent:
            return False
        return True

    def _take(self, call: "asyncio.Future[_Answer]") -> BaseException | None:
        """Take what came of a call, and return why nothing did of one of its own."""
        is_own = call in self._own
        self._own.discard(call)
        wanted = self._shared.pop(call, [])
        error = asyncio.CancelledError() if call.cancelled() else call.exception()
        if is_own and error is not None:
            return error
        answer = _Answer({}, 0, {}) if error is not None else call.result()
        for key in [*answer.vectors, *answer.refused] if is_own else wanted:
            if key in answer.vectors:
                self._vectors[key] = self._unkept[key] = answer.vectors[key]
                self._came.add(key)
            elif key in answer.refused:
                self._refused[key] = answer.refused[key]
            else:
                self._queue.appendleft(key)  # the other one gave up
                continue
            del self._texts[key]
        self.made += answer.made if is_own else 0
        return None

    async def _keep(self) -> None:
        unkept, self._unkept = self._unkept, {}
        if unkept:
            await self._hands.keep(unkept, len(self._came))
            self._release(unkept)
        self._kept_at = asyncio.get_running_loop().time()

    async def _write(self, least: int) -> None:
        """Have documents written, in their order, as long as so many passages in a row have what they need."""
        while True:
            run, passages = list[Pending](), 0
            for document in self._drawn:
                if passages >= BATCH or not all(self._is_answered(key) for key, _ in document.chunks):
                    break
                run.append(document)
                passages += len(document.chunks)
            if not run or passages < least:
                return
            for _ in run:
                self._drawn.popleft()
            whole = [one for one in run if not self._leave_out(one)]
            await self._hands.write(whole, self._vectors, passages)
            self._written(run, whole)

    def _is_answered(self, key: bytes) -> bool:
        return key in self._vectors or key in self._refused

    def _leave_out(self, document: Pending) -> bool:
        """Return whether a document has a text that was refused, and note that."""
        refused = next((one for one in document.chunks if one[0] in self._refused), None)
        if refused is None:
            return False
        key, chunk = refused
        place = cite(document.path, document.unit, chunk.first, chunk.last)
        reason = f"has a passage that the embedder refuses ({place}): {self._refused[key]}; change or exclude it"
        self.left_out.append(Unreadable(document.path, reason))
        self.waiting.update(key for key, _ in document.chunks)
        return True

    def _written(self, run: Sequence[Pending], whole: Sequence[Pending]) -> None:
        """Let go of what belongs to documents that are written or left out."""
        stored = {key for document in whole for key, _ in document.chunks}
        for key in stored:
            self._unkept.pop(key, None)
        self._release(stored)
        for document in run:
            self._unwritten -= len(document.chunks)
            for key, _ in document.chunks:
                self._came.discard(key)
                self._uses[key] -= 1
                if not self._uses[key]:
                    self._vectors.pop(key, None)

    def _release(self, keys: Iterable[bytes]) -> None:
        """Note that vectors are stored, or will not come."""
        for key in keys:
            call = self._claimed.pop(key, None)
            if call is not None and _UNDER_WAY.get(key) is call:
                del _UNDER_WAY[key]


def _is_refusal(error: Permanent) -> bool:
    """Return whether an error may be due to one text; others are due to the account, the key or the model."""
    return isinstance(error, BadReply) or type(error) is Permanent
