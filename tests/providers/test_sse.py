"""The reader of server-sent events."""

import itertools
import time

from hypothesis import given
from hypothesis import strategies as st

from loomd.providers.sse import EventReader

STREAM = (
    b"\xef\xbb\xbf: hello\n\nevent: message\nid: 1\nretry: 5\ndata: one\n\n"
    b"data:two\r\n\r\ndata: thr\ndata:ee\n\ndata\n\n\n\n: ping\r\n\r\ndata: four\r\rdata:  five\n\ndata: cut off"
)
EVENTS = [b"one", b"two", b"thr\nee", b"", b"four", b" five"]


def read(*pieces: bytes) -> list[bytes]:
    """Return the events of a body that comes in pieces."""
    reader = EventReader()
    return [data for piece in pieces for data in reader.feed(piece)]


def test_all_of_the_format() -> None:
    """Comments, other fields, several lines and every end of line are understood; what is cut off is dropped."""
    assert read(STREAM) == EVENTS


@given(st.lists(st.integers(3, len(STREAM)), max_size=20))
def test_pieces_may_end_anywhere(cuts: list[int]) -> None:
    """However a body is cut into pieces, its events are the same."""
    at = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in itertools.pairwise(at) if b > a]
    assert read(*pieces) == EVENTS


def test_byte_by_byte() -> None:
    """A body may come one byte at a time."""
    assert read(STREAM[:3], *(STREAM[n : n + 1] for n in range(3, len(STREAM)))) == EVENTS


def test_a_long_event_is_not_copied_again_and_again() -> None:
    """One event of 16 MB in small pieces is read in no time."""
    began = time.process_time()
    assert len(read(b"data: ", *[b"x" * 1024] * 16384, b"\n\n")[0]) == 16 << 20
    assert time.process_time() - began < 10


def test_an_event_of_many_lines_is_not_looked_at_again_and_again() -> None:
    """One event of 16 MB in lines that come one by one is read in no time: a service cannot hold up all others."""
    began = time.process_time()
    assert len(read(*[b"data: " + b"x" * 1017 + b"\n"] * 16384, b"\n")[0]) == 16384 * 1018 - 1
    assert time.process_time() - began < 10


def test_llama_cpp_says_error() -> None:
    """A line `error:` of llama.cpp is an error object."""
    assert read(b'error: {"code":500}\n\n') == [b'{"error": {"code":500}}']
