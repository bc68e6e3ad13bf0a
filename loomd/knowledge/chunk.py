"""Cuts documents into passages, in the way that a manifest names or that suits their format. Pure.

A passage is a run of whole lines wherever that fits the size, so that it can be cited by its lines; its title is the
path of headings above it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from loomd.knowledge.base import CHARACTERS_PER_TOKEN, Chunking
from loomd.knowledge.chunkers import code, fixed, markdown, recursive, sentence
from loomd.knowledge.chunkers.base import Cutting, Piece
from loomd.knowledge.formats.base import Content

_CHUNKERS: Mapping[str, Callable[[Cutting], Iterator[Piece]]] = {
    "code": code.cut,
    "fixed": fixed.cut,
    "markdown": markdown.cut,
    "recursive": recursive.cut,
    "sentence": sentence.cut,
}


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a document. `first` and `last` are its places, counted from 1, both included."""

    title: str
    text: str
    first: int
    last: int


def cut(path: str, content: Content, how: Chunking) -> list[Chunk]:
    """Return the passages of a document, in order.

    Args:
        path: its path; the name is the title of what has no heading.
        content: what it holds.
        how: kind, size and overlap.

    Raises:
        BadDocument: it cannot be cut in this way.
    """
    way = how.type if how.type != "auto" else "code" if content.language else "markdown"
    name = path.rpartition("/")[2]
    cutting = Cutting(name, content, how.size * CHARACTERS_PER_TOKEN, how.overlap * CHARACTERS_PER_TOKEN)
    return [
        Chunk(piece.title, piece.text, content.place(piece.first - 1), content.place(piece.last - 1))
        for piece in _CHUNKERS[way](cutting)
    ]
