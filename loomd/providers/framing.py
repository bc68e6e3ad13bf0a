"""HTTP/1.1 answers as bytes on a connection: where the head ends, what it says, and where the body ends (RFC 9112).

Pure: bytes in, bytes out. Called by `connection`; knows no socket and no service.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

HEAD_LIMIT = 1 << 16
"""Bytes that a head, a chunk's line or the lines after the last chunk may have."""

_STATUS = re.compile(r"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: |$)")
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
_SIZE_LINE = 17
"""Bytes of the longest size with its end of line."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BLANK = " \t\n\r\x0b\x0c"
_LENGTH = re.compile(r"[0-9]{1,18}")


class Garbled(Exception):
    """The bytes are no HTTP; the text says what is wrong with them."""


class Body(Protocol):
    """Finds the end of a body."""

    done: bool
    """Whether the end was found."""
    excess: bool
    """Whether bytes came after it."""

    def feed(self, data: bytes) -> bytes:
        """Return what is payload in the next bytes.

        Raises:
            Garbled: they do not belong there.
        """
        ...

    def end(self) -> bool:
        """Return whether the body is whole when the connection ends here."""
        ...


@dataclass(frozen=True)
class Head:
    """The head of an answer.

    Attributes:
        headers: names in lower case; values of the same name are joined by commas.
        keep: whether the connection stays open after the body.
    """

    status: int
    headers: Mapping[str, str]
    keep: bool

    def body(self) -> Body:
        """Return what finds the end of the body.

        Raises:
            Garbled: the head contradicts itself.
        """
        coding = self.headers.get("transfer-encoding", "").lower()
        if self.status in (204, 304):
            return Sized(0)
        if coding:
            return Chunked() if coding.rpartition(",")[2].strip() == "chunked" else UntilClose()
        length = self.headers.get("content-length")
        if length is None:
            return UntilClose()
        lengths = {part.strip() for part in length.split(",")} if "," in length else {length}
        one = lengths.pop()
        if lengths or not _LENGTH.fullmatch(one):
            raise Garbled(f"its Content-Length is {length[:40]!r}")
        return Sized(int(one))


def read_head(block: bytes) -> Head:
    """Return a head from its bytes, without the empty line that ends it.

    Raises:
        Garbled: it is none.
    """
    first, *lines = block.decode("latin-1").split("\r\n")
    status = _STATUS.match(first)
    if status is None:
        raise Garbled(f"it begins with {block[:40]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        raw, colon, value = line.partition(":")
        name, text = _named(raw) if len(raw) <= _LONG else _name_of(raw), value.strip(_BLANK)
        if not colon or not name:
            raise Garbled(f"{line[:40].encode('latin-1')!r} is no header")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    connection = headers.get("connection", "").lower()
    keep = "close" not in connection and (status[1] == "1" or "keep-alive" in connection)
    if "transfer-encoding" in headers and (status[1] == "0" or "content-length" in headers):
        keep = False  # whoever reads it otherwise finds its end elsewhere (RFC 9112, 6.1)
    return Head(int(status[2]), headers, keep)


def _name_of(raw: str) -> str:
    """Return the name of a header in lower case, or nothing when it is none."""
    return raw.lower() if _NAME.fullmatch(raw) else ""


_named = lru_cache(maxsize=256)(_name_of)
_LONG = 64
"""Longest name that is kept in mind."""


class Sized:
    """A body whose length was told."""

    def __init__(self, length: int) -> None:
        self.done = length == 0
        self.excess = False
        self._left = length

    def feed(self, data: bytes) -> bytes:
        """Return what is payload in the next bytes."""
        if len(data) > self._left:
            self.excess = True
            data = data[: self._left]
        self._left -= len(data)
        self.done = self._left == 0
        return data

    def end(self) -> bool:
        """Return whether the body is whole when the connection ends here."""
        return self.done


class UntilClose:
    """A body that ends with its connection."""

    done = False
    excess = False

    def feed(self, data: bytes) -> bytes:
        """Return the next bytes: all are payload."""
        return data

    def end(self) -> bool:
        """Return whether the body is whole when the connection ends here: it is."""
        return True


@lru_cache(maxsize=1024)
def _size(text: bytes) -> int:
    """Return the size that a chunk's line tells, or -1 when it tells none."""
    return int(text, 16) if _SIZE.fullmatch(text) else -1


class Chunked:
    """A body in chunks that tell their size."""

    def __init__(self) -> None:
        self.done = False
        self.excess = False
        self._rest = b""
        self._left = 0
        self._closing = False
        self._trailing = False

    def feed(self, data: bytes) -> bytes:
        """Return what is payload in the next bytes.

        Raises:
            Garbled: a chunk has no size, or does not end where it should.
        """
        if self._rest:
            data, self._rest = self._rest + data, b""
        at, found = 0, []
        while not self.done:
            if self._left:
                piece = data[at : at + self._left]
                found.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._closing = not self._left
                if self._left:
                    return b"".join(found)
            at = self._whole(data, at, found)
            end = data.find(b"\r\n", at)
            if end < 0:
                self._keep(data[at:])
                return b"".join(found)
            self._line(data[at:end])
            at = end + 2
        self.excess = at < len(data)
        return b"".join(found)

    def end(self) -> bool:
        """Return whether the body is whole when the connection ends here."""
        return self.done

    def _whole(self, data: bytes, at: int, found: list[bytes]) -> int:
        """Take the chunks that are here as a whole, as most are, and return where they end."""
        if self._closing or self._trailing:
            return at
        while (line := data.find(b"\r\n", at, at + _SIZE_LINE)) > at:
            size, begin = _size(data[at:line]), line + 2
            if size < 1 or not data.startswith(b"\r\n", begin + size):
                break
            found.append(data[begin : begin + size])
            at = begin + size + 2
        return at

    def _line(self, line: bytes) -> None:
        """Take a line that begins a chunk, ends one, or follows the last one."""
        if self._closing:
            if line:
                raise Garbled("a chunk is longer than its size says")
            self._closing = False
        elif self._trailing:
            self.done = not line
        else:
            size = line.partition(b";")[0].strip()
            self._left = _size(size) if len(size) < _SIZE_LINE else -1
            if self._left < 0:
                raise Garbled(f"{line[:40]!r} is no size of a chunk")
            self._trailing = not self._left

    def _keep(self, rest: bytes) -> None:
        if len(rest) > HEAD_LIMIT:
            raise Garbled(f"a line between chunks is longer than {HEAD_LIMIT} bytes")
        if self._closing and rest[:1] not in (b"", b"\r"):
            raise Garbled("a chunk is longer than its size says")
        self._rest = rest
