"""Server-sent events: the data of each, from bytes in pieces of any size. Called by `exchange`; knows no service.

Lines may end in CR LF, LF or CR, and a piece may end anywhere. Fields other than `data` say nothing that the services
do not say in the data, too; comments are dropped, and so is an event that is cut off at the end.
"""

import re

_ERROR = b"error:"
"""What llama.cpp writes instead of `data:` when it fails in the middle of an answer."""
_PLAIN = re.compile(rb"data: ([^\n]*)\n\n")
_AROUND = len(b"data: \n\n")


class EventReader:
    """Puts pieces of a body together; one reader for each answer."""

    __slots__ = ("_after_cr", "_begun", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._begun = False
        self._after_cr = False

    def feed(self, piece: bytes) -> list[bytes]:
        """Add a piece of the body and return the data of each event that it completes, in their order."""
        if not self._begun:
            piece = piece.removeprefix(b"\xef\xbb\xbf")
            self._begun = True
        if self._after_cr or b"\r" in piece:
            piece = self._with_lf(piece)
        if not piece:
            return []
        ends = b"\n\n" in piece or (piece[:1] == b"\n" and bool(self._pieces) and self._pieces[-1][-1:] == b"\n")
        self._pieces.append(piece)
        if not ends:  # no event is complete: what waits is not looked at again for every piece
            return []
        text = b"".join(self._pieces) if len(self._pieces) > 1 else piece
        found: list[bytes] = _PLAIN.findall(text)
        if sum(map(len, found)) + len(found) * _AROUND == len(text):  # all there is, as it mostly is
            self._pieces = []
            return found
        *blocks, rest = text.split(b"\n\n")
        self._pieces = [rest] if rest else []
        found = []
        for block in blocks:
            if block.startswith(b"data: ") and b"\n" not in block:
                found.append(block[6:])
            elif (data := _data(block)) is not None:
                found.append(data)
        return found

    def _with_lf(self, piece: bytes) -> bytes:
        """Return a piece with LF for every end of line; one that ends in CR may have its LF in the next."""
        if self._after_cr and piece.startswith(b"\n"):
            piece = piece[1:]
            if not piece:
                self._after_cr = False
                return b""
        self._after_cr = piece.endswith(b"\r")
        return piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _data(block: bytes) -> bytes | None:
    """Return the data of an event of several lines, or None when it has none."""
    found: list[bytes] = []
    for line in block.split(b"\n"):
        if line.startswith(b"data:"):
            found.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif line == b"data":
            found.append(b"")
        elif line.startswith(_ERROR):
            return b'{"error":' + line[len(_ERROR) :] + b"}"
    return b"\n".join(found) if found else None
