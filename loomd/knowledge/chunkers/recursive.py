"""`recursive`: at paragraphs, then lines, then sentences, then words, whatever stands in the document."""

from collections.abc import Iterator
from dataclasses import replace

from loomd.knowledge.chunkers.base import Cutting, Piece, blocks_of, pack, whole


def cut(cutting: Cutting) -> Iterator[Piece]:
    """Yield passages under the headings that stand before them."""
    for piece in pack(cutting.name, blocks_of(whole(cutting), cutting.limit), cutting):
        yield replace(piece, title=cutting.title(piece.first - 1))
