"""`markdown`: at headings, also those of other formats that have them; long sections at paragraphs and lines."""

from collections.abc import Iterator

from loomd.knowledge.chunkers.base import Cutting, Piece, blocks_of, pack, sections


def cut(cutting: Cutting) -> Iterator[Piece]:
    """Yield passages that hold no heading, which is their title."""
    for section in sections(cutting):
        yield from pack(section.title, blocks_of(section, cutting.limit), cutting)
