"""The write-ahead log of SQLite, looked at before SQLite does: it would take a damaged one for one that ends earlier.

A frame that does not match its checksum ends the log. After a power cut the last transaction may be torn like that, and
nobody was told that it was done. Any other is damage, and what comes after it would be lost without a word. Reads only.
Called when a store opens, and by `check`.
"""

import struct
import sys
from functools import cache
from operator import mul
from pathlib import Path

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_MAGIC = 0x377F0682
"""The last bit says in which byte order checksums are made: 1 for the most significant first."""
_WORD = 0xFFFFFFFF
_SALTS = slice(16, 24)
"""Where the header has the two numbers that tell one log from another in the same file."""
_NATIVE = "<" if sys.byteorder == "little" else ">"
_INDEX = struct.Struct("=I12xI12x8s2I")
"""The head of the index: version, number of the last committed frame, salts, and the checksum of all before it."""
_INDEX_VERSION = 3007000


def damage(path: Path, *, torn: bool) -> str:
    """Return what is wrong with a log that no process has open, or an empty string.

    Args:
        path: the log; it may be missing.
        torn: whether the last transaction may be torn, because the power may have failed.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ""
    salts, written = (b"", 0) if torn else _written(path.with_name(f"{path.name.removesuffix('-wal')}-shm"))
    if written and data[_SALTS] != salts:
        return "it is not the one that was written last"
    if len(data) < _HEADER.size + _FRAME.size:
        return f"it ends before its first frame, and {written} were written" if written else ""
    magic, _, page, _, *salt, first, second = _HEADER.unpack_from(data)
    order = ">" if magic & 1 else "<"
    head = _sum(data[: _HEADER.size - 8], order, (0, 0))
    if magic & ~1 != _MAGIC or head != (first, second):
        return "" if torn else "its header does not match its checksum"
    frames = [at for at in range(_HEADER.size, len(data), _FRAME.size + page) if at + _FRAME.size + page <= len(data)]
    broken = _first_broken(data, frames, (order, page, salt[0], salt[1], head))
    ends = [number for number, at in enumerate(frames) if number >= broken and _is_end(data, at, salt)]
    if not ends or (torn and ends[-1] == ends[0] and not _goes_on(data, frames[ends[0] + 1 :], salt)):
        return f"it ends after frame {broken}, and {written} were written" if broken < written else ""
    return f"frame {broken + 1} of {len(frames)} does not match its checksum"


def _written(index: Path) -> tuple[bytes, int]:
    """Return the salts of a log and how many of its frames are committed, as the killed process left them in memory.

    SQLite keeps both in the index of the log, which all its processes share. It is a file that nobody flushes: it says
    how far the log went as long as the machine was not started anew.
    """
    try:
        data = index.read_bytes()[: 2 * _INDEX.size]
    except FileNotFoundError:
        return b"", 0
    for at in range(0, len(data) - _INDEX.size + 1, _INDEX.size):  # two copies: one of them is always whole
        head = data[at : at + _INDEX.size]
        version, last, salts, *sums = _INDEX.unpack(head)
        if version == _INDEX_VERSION and _sum(head[:-8], _NATIVE, (0, 0)) == tuple(sums):
            return salts, last
    return b"", 0


def _first_broken(data: bytes, frames: list[int], how: tuple[str, int, int, int, tuple[int, int]]) -> int:
    """Return the number of the first frame that is not what was written, from 0."""
    order, page, one, two, running = how
    for number, at in enumerate(frames):
        _, _, salt_one, salt_two, first, second = _FRAME.unpack_from(data, at)
        running = _sum(data[at : at + 8] + data[at + _FRAME.size : at + _FRAME.size + page], order, running)
        if (salt_one, salt_two) != (one, two) or running != (first, second):
            return number
    return len(frames)


def _is_end(data: bytes, at: int, salt: list[int]) -> bool:
    """Return whether a frame of this log ends a transaction."""
    _, size, one, two, _, _ = _FRAME.unpack_from(data, at)
    return size != 0 and [one, two] == salt


def _goes_on(data: bytes, frames: list[int], salt: list[int]) -> bool:
    """Return whether another transaction was begun: the one before it was on disk then."""
    return any(list(_FRAME.unpack_from(data, at)[2:4]) == salt for at in frames[:1])


def _sum(data: bytes, order: str, start: tuple[int, int]) -> tuple[int, int]:
    """Return SQLite's checksum of some bytes, a multiple of 8, that follow what has the checksum `start`."""
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    one, two = _weights(len(words))
    first = sum(map(mul, one[2:], words), one[0] * start[0] + one[1] * start[1])
    second = sum(map(mul, two[2:], words), two[0] * start[0] + two[1] * start[1])
    return first & _WORD, second & _WORD


@cache
def _weights(count: int) -> tuple[list[int], list[int]]:
    """Return by what the two start values and each of `count` words count in the two halves of a checksum.

    The checksum adds the words in turn to two numbers, and each number to the other: a sum of products with Fibonacci
    numbers, which is quicker to add up than to follow.
    """
    series = [0, 1]
    while len(series) < count + 2:
        series.append((series[-1] + series[-2]) & _WORD)
    one = [series[count - 1], series[count], *(series[count - 1 - at] for at in range(count))]
    two = [series[count], series[count + 1], *(series[count - at] for at in range(count))]
    return one, two
