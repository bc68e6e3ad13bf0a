"""HTTP answers as bytes: heads, and the ends of bodies."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loomd.providers.framing import HEAD_LIMIT, Chunked, Garbled, Sized, UntilClose, read_head

CHUNKS = b"5\r\nhello\r\n1;name=value\r\n \r\n0B\r\nwide\r\nworld\r\n0\r\nX-Trailer: a\r\n\r\n"
PAYLOAD = b"hello wide\r\nworld"


@given(st.lists(st.integers(0, len(CHUNKS)), max_size=30))
def test_chunks_in_any_pieces(cuts: list[int]) -> None:
    """However the bytes are cut into pieces, the payload is the same, and the end is found."""
    body = Chunked()
    at = [0, *sorted(cuts), len(CHUNKS)]
    got = b"".join(body.feed(CHUNKS[a:b]) for a, b in itertools.pairwise(at))
    assert (got, body.done, body.excess) == (PAYLOAD, True, False)


@pytest.mark.parametrize(
    "data",
    [
        b"zz\r\n",
        b"-5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"1_0\r\n",
        b"\r\n",
        b"5 5\r\n",
        b"fffffffffffffffff\r\n",
        b"5\r\nhello!\r\n",
        b"5\r\nhellox",
        b"1" * (HEAD_LIMIT + 1),
    ],
    ids=repr,
)
def test_broken_chunks(data: bytes) -> None:
    """A chunk without a size, or longer than its size, is refused."""
    with pytest.raises(Garbled):
        Chunked().feed(data[:70_000])


def test_bytes_after_the_end() -> None:
    """What follows a body does not belong to it, and is noticed."""
    chunked, sized = Chunked(), Sized(2)
    assert chunked.feed(b"1\r\na\r\n0\r\n\r\nHTTP/1.1") == b"a"
    assert sized.feed(b"abc") == b"ab"
    assert chunked.done
    assert chunked.excess
    assert sized.done
    assert sized.excess


@pytest.mark.parametrize(
    ("head", "body", "keep"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5", Sized, True),
        (b"HTTP/1.1 200\r\ncontent-length:5,5", Sized, True),
        (b"HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: Chunked", Chunked, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", Chunked, False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked", Chunked, False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip", UntilClose, True),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 5", Sized, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5", Sized, False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5", Sized, True),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5", Sized, True),
        (b"HTTP/1.1 200 OK", UntilClose, True),
    ],
    ids=lambda value: value.decode() if isinstance(value, bytes) else None,
)
def test_where_a_body_ends(head: bytes, body: type[object], keep: bool) -> None:
    """The head says how the end of the body is found, and whether the connection stays."""
    found = read_head(head)
    assert (type(found.body()), found.keep) == (body, keep)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"220 ready",
        b"HTTP/2 200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 200 OK\r\nno colon",
        b"HTTP/1.1 200 OK\r\nna me: x",
        b"HTTP/1.1 200 OK\r\n folded",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6",
        b"HTTP/1.1 200 OK\r\nContent-Length: five",
    ],
    ids=repr,
)
def test_broken_heads(head: bytes) -> None:
    """What is no head of HTTP/1 is refused."""
    with pytest.raises(Garbled):
        read_head(head).body()


def test_headers_are_found_in_any_case() -> None:
    """Names are lower case, and values of one name are joined."""
    assert read_head(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a:  2 ").headers == {"x-a": "1, 2"}
