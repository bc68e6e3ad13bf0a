"""Search by words: the one module that knows Tantivy.

A folder holds the index. It is made from the chunk store and says itself up to which change it knows that, in the
same commit; one that is damaged or of another store is made anew by its caller. One thread writes; any number search,
each over the last commit.
"""

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import tantivy

from loomd.errors import Damaged
from loomd.knowledge.query import telling
from loomd.knowledge.store import Added
from loomd.vectors.faiss_index import Mark

_HEAP = 32 << 20
"""Bytes that a writer may take before it writes a segment."""
_TITLE = 0.5
"""What a word of a title counts by its own, beside that it is one of the text: titles are short, which BM25 rewards."""
_MARK = 0
"""Id of the document that holds the mark; chunks are counted from 1."""
_FOOTER = 8
"""Bytes at the end of a file of Tantivy: the length of its foot, and a magic number."""


class WordIndex:
    """Chunks by their words, ranked by BM25."""

    def __init__(self, folder: Path) -> None:
        """Open or create the index.

        Raises:
            Damaged: its files are not what was written.
        """
        folder.mkdir(exist_ok=True)
        if broken := next(broken_files(folder), ""):
            raise Damaged(f"{folder / broken}: the index of words is not what was written")
        self._analyzer = _analyzer()
        try:
            self._index = tantivy.Index(_schema(), path=str(folder))
            self._index.register_tokenizer("words", self._analyzer)
            self._index.config_reader("manual")
            self._writer: Any = None
            self._read()
        except ValueError as error:
            raise Damaged(f"{folder}: the index of words cannot be opened: {error}") from error

    def _read(self) -> None:
        self._index.reload()
        self._searcher = self._index.searcher()

    @property
    def mark(self) -> Mark | None:
        """Return up to where it knows the store; None when nothing was ever committed."""
        found = self._searcher.search(self._term("id", _MARK), 1).hits
        return msgspec.json.decode(self._searcher.doc(found[0][1])["mark"][0], type=Mark) if found else None

    def add(self, chunks: Iterable[Added]) -> None:
        """Add chunks with the next commit.

        Raises:
            ValueError: it cannot be written; the next thing to do is `drop`.
        """
        writer = self._open_writer()
        for chunk in chunks:
            document = tantivy.Document()
            document.add_unsigned("id", chunk.id)
            document.add_text("title", chunk.title)
            document.add_text("text", chunk.title)
            document.add_text("text", chunk.text)
            writer.add_document(document)

    def remove(self, ids: Iterable[int]) -> None:
        """Remove chunks with the next commit."""
        if gone := list(ids):  # to delete by term finds no number
            found = tantivy.Query.term_set_query(self._index.schema, "id", gone)
            self._open_writer().delete_documents_by_query(found)

    def clear(self) -> None:
        """Remove all chunks with the next commit."""
        self._open_writer().delete_all_documents()

    def commit(self, mark: Mark) -> None:
        """Make what was added and removed searchable and durable, with the mark up to which the store is known now.

        Raises:
            ValueError: as `add`.
        """
        writer = self._open_writer()
        self.remove([_MARK])
        document = tantivy.Document()
        document.add_unsigned("id", _MARK)
        document.add_text("mark", msgspec.json.encode(mark).decode())
        writer.add_document(document)
        writer.commit()
        self._read()

    def drop(self) -> None:
        """Give up what was not committed: a writer that failed once loses what it is given, and says nothing."""
        self._writer = None

    def settle(self) -> None:
        """End what was begun, merges included; what was not committed is lost."""
        if self._writer is not None:
            self._writer.wait_merging_threads()
            self._writer = None
            self._read()

    def stems(self, text: str) -> list[str]:
        """Return the words of a text in their order, as they are looked up."""
        return list(self._analyzer.analyze(text))

    def asked(self, query: str) -> list[str]:
        """Return the words that a question in plain words looks up; operators and punctuation mean nothing."""
        return [word for word in telling(query) for word in self._analyzer.analyze(word)]

    def shares(self, words: Iterable[str]) -> dict[str, float]:
        """Return in what share of all chunks each word stands that is looked up."""
        searcher = self._searcher
        total = max(1, searcher.num_docs - 1)  # one holds the mark
        return {word: searcher.doc_freq("text", word) / total for word in words}

    def search(self, query: str | Mapping[str, float], limit: int, title_weight: float) -> list[tuple[int, float]]:
        """Return ids with their BM25 score (from 0, higher is better) for a question, best first.

        Args:
            query: the question in plain words, or the words to look up with the weight of each.
            limit: how many at most.
            title_weight: how much more a word in the title counts than one in the text, from 1 upwards.
        """
        should = tantivy.Occur.Should
        if isinstance(query, str):
            words = self.asked(query)
            terms = [(should, self._term("text", word)) for word in words]
        else:
            words = []
            terms = [
                (should, term) for word, weight in query.items() for term in self._weighted(word, weight, title_weight)
            ]
        if not terms:
            return []
        if words and title_weight > 1:
            boost = (title_weight - 1) * _TITLE
            terms += [(should, tantivy.Query.boost_query(self._term("title", word), boost)) for word in words]
        searcher = self._searcher
        hits = searcher.search(tantivy.Query.boolean_query(terms), limit, count=False).hits
        ids = searcher.fast_field_values("id", [address for _, address in hits])
        return [(int(ident or 0), float(score or 0)) for ident, (score, _) in zip(ids, hits, strict=True)]

    def _weighted(self, word: str, weight: float, title_weight: float) -> Iterator[Any]:
        yield tantivy.Query.boost_query(self._term("text", word), weight)
        if title_weight > 1:
            boost = weight * (title_weight - 1) * _TITLE
            yield tantivy.Query.boost_query(self._term("title", word), boost)

    def _term(self, field: str, value: object) -> Any:
        return tantivy.Query.term_query(self._index.schema, field, value)

    def _open_writer(self) -> Any:
        if self._writer is None:
            self._writer = self._index.writer(heap_size=_HEAP, num_threads=1)
        return self._writer


def broken_files(folder: Path) -> Iterator[str]:
    """Yield the names of files whose content does not match the checksum that Tantivy ends them with.

    Only what belongs to the last commit is looked at: what a process that was killed had begun is nobody's.
    """
    try:
        listed = msgspec.json.decode((folder / "meta.json").read_bytes())["segments"]
        segments = tuple(one["segment_id"].replace("-", "") for one in listed)
    except (OSError, msgspec.DecodeError, KeyError, TypeError):
        return  # new, or one that cannot be opened
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(segments):
            continue
        data = path.read_bytes()
        length = int.from_bytes(data[-_FOOTER : -_FOOTER + 4], "little")
        content, foot = data[: -_FOOTER - length], data[-_FOOTER - length : -_FOOTER]
        try:
            said = json.loads(foot)["crc"]
        except (ValueError, KeyError, TypeError):
            said = None
        if zlib.crc32(content) != said:
            yield path.name


def _schema() -> Any:
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("id", indexed=True, fast=True)
    builder.add_text_field("title", tokenizer_name="words", index_option="freq")
    builder.add_text_field("text", tokenizer_name="words", index_option="freq")
    builder.add_text_field("mark", stored=True, tokenizer_name="raw", index_option="basic")
    return builder.build()


def _analyzer() -> Any:
    """Return what makes words of a text: letters and digits, without accents, in small letters, stemmed."""
    filters = (tantivy.Filter.lowercase(), tantivy.Filter.ascii_fold(), tantivy.Filter.stemmer("english"))
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    for one in filters:
        builder = builder.filter(one)
    return builder.build()
