"""`code`: at definitions. One that fits is a passage, small neighbours share one, large ones are cut at those in them.

What is still too long, and code in a language without a grammar, is cut as `recursive` cuts. Nothing overlaps but that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from loomd.knowledge.chunkers import recursive
from loomd.knowledge.chunkers.base import Block, Cutting, Piece, Section, blocks_of, pack
from loomd.knowledge.formats.base import BadDocument, Content, Span


@dataclass
class _Node:
    """A definition with those in it, by the indexes of its first line and the one after its last."""

    start: int
    end: int
    title: str
    inner: list["_Node"] = field(default_factory=list["_Node"])


@dataclass(frozen=True)
class _Part:
    """Lines that are one passage, or too long for one.

    `title` is empty for what stands between definitions; a part of a definition that was cut is `closed` to neighbours.
    """

    start: int
    end: int
    title: str
    closed: bool = False


def cut(cutting: Cutting) -> Iterator[Piece]:
    """Yield passages whose title is the file and the definitions that they stand in.

    Raises:
        BadDocument: the grammar of the language is not installed.
    """
    content = cutting.content
    if not content.language:
        yield from recursive.cut(cutting)
        return
    if content.spans is None:
        raise BadDocument(
            f"needs the grammar of {content.language} to be cut as code: pip install 'loomd[code]', "
            "or set chunk.type to recursive"
        )
    root = _tree(content, content.spans, cutting.name)
    for part in _parts(root, cutting):
        lines = cutting.lines[part.start : part.end]
        yield from pack(part.title, _blocks(lines, part, cutting), cutting)


def _blocks(lines: Sequence[str], part: _Part, cutting: Cutting) -> Iterator[Block]:
    """Yield a part as one block when it fits, blank lines included, else its paragraphs."""
    filled = [at for at, line in enumerate(lines) if line.strip()]
    if not filled:
        return
    kept = [line.rstrip() for line in lines[filled[0] : filled[-1] + 1]]
    text, first = "\n".join(kept), part.start + filled[0] + 1
    if len(text) <= cutting.limit:
        yield Block(text, first, first + len(kept) - 1)
    else:
        yield from blocks_of(Section(part.title, first, kept), cutting.limit)


def _tree(content: Content, spans: Sequence[Span], name: str) -> _Node:
    """Return the document as a definition that holds all others."""
    root = _Node(0, len(content.lines), name)
    path = [root]
    for span in spans:
        while len(path) > 1 and span.start >= path[-1].end:
            path.pop()
        above = path[-1]
        start = max(span.start, above.inner[-1].end if above.inner else above.start)
        node = _Node(start, min(span.end, above.end), f"{above.title} > {span.name}")
        if start < node.end:
            above.inner.append(node)
            path.append(node)
    return root


def _parts(node: _Node, cutting: Cutting) -> Iterator[_Part]:
    """Yield the parts of a definition; together they are all of its lines."""
    if not node.inner or _size(cutting, node.start, node.end) <= cutting.limit:
        yield _Part(node.start, node.end, node.title)
        return
    held: list[_Part] = []
    for part in _pieces(node, cutting):
        if held and (part.closed or _size(cutting, held[0].start, part.end) > cutting.limit):
            yield _joined(held, node)
            held = []
        if part.closed:
            yield part
        else:
            held.append(part)
    if held:
        yield _joined(held, node)


def _pieces(node: _Node, cutting: Cutting) -> Iterator[_Part]:
    """Yield the definitions in a definition, cut as far as they must be, and what stands between them."""
    at = node.start
    for inner in node.inner:
        if at < inner.start:
            yield _Part(at, inner.start, "")
        parts = list(_parts(inner, cutting))
        yield from (replace(part, closed=len(parts) > 1) for part in parts)
        at = inner.end
    if at < node.end:
        yield _Part(at, node.end, "")


def _joined(parts: Sequence[_Part], node: _Node) -> _Part:
    """Return neighbours as one part: under the name of the only definition among them, else of what holds them."""
    titles = {part.title for part in parts if part.title}
    return _Part(parts[0].start, parts[-1].end, titles.pop() if len(titles) == 1 else node.title)


def _size(cutting: Cutting, start: int, end: int) -> int:
    return sum(len(line) + 1 for line in cutting.lines[start:end])
