"""Search by words with three engines: SQLite FTS5, Tantivy (what loomd uses) and bm25s, over the same made passages.

    python benchmarks/retrieval/engines.py [--sizes 10000,100000]

Words are drawn by Zipf's law; a question is six words of a passage, common ones among them. Needs `pip install bm25s`
for the third; without it that is skipped. What is told of an update is one passage replaced, committed and found.
"""

import argparse
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from loomd.knowledge.query import telling
from loomd.knowledge.store import Added
from loomd.knowledge.words import WordIndex
from loomd.vectors.faiss_index import Mark

WORDS, ASKED, FOUND = 30_000, 200, 50


def passages(size: int) -> tuple[list[str], list[str]]:
    """Return texts and questions."""
    rng = np.random.default_rng(7)
    words = np.array(["".join(chr(97 + at // 26**k % 26) for k in range(4)) for at in range(WORDS)])
    share = 1 / np.arange(1, WORDS + 1)
    lengths = rng.integers(50, 110, size)
    drawn = words[rng.choice(WORDS, int(lengths.sum()), p=share / share.sum())]
    texts = [" ".join(part) for part in np.split(drawn, np.cumsum(lengths)[:-1])]
    return texts, [" ".join(rng.choice(texts[rng.integers(size)].split(), 6)) for _ in range(ASKED)]


def told(
    name: str, began: float, questions: list[str], search: Callable[[str], object], update: Callable[[int], None]
) -> None:
    built = time.perf_counter() - began
    for question in questions[:20]:
        search(question)
    took, changed = [], []
    for question in questions:
        before = time.perf_counter()
        search(question)
        took.append((time.perf_counter() - before) * 1000)
    for number in range(5):
        before = time.perf_counter()
        update(number)
        changed.append((time.perf_counter() - before) * 1000)
    spread = f"p50 {statistics.median(took):6.2f} ms, p99 {sorted(took)[-2]:6.2f} ms"
    print(
        f"  {name:8} built in {built:6.2f} s; query {spread}; update {statistics.median(changed):8.2f} ms", flush=True
    )


def fts5(folder: Path, texts: list[str], questions: list[str]) -> None:
    began = time.perf_counter()
    db = sqlite3.connect(folder / "words.db", isolation_level=None)
    db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
    db.execute("CREATE VIRTUAL TABLE words USING fts5 (title, text, tokenize = 'porter unicode61')")
    db.execute("BEGIN")
    db.executemany("INSERT INTO words (rowid, title, text) VALUES (?, 'title', ?)", enumerate(texts, 1))
    db.execute("COMMIT")

    def search(question: str) -> object:
        match = " OR ".join(f'"{word}"' for word in telling(question))
        query = "SELECT rowid, bm25(words, 2.0, 1.0) AS score FROM words WHERE words MATCH ? ORDER BY score LIMIT ?"
        return db.execute(query, (match, FOUND)).fetchall()

    def update(number: int) -> None:
        db.execute("INSERT OR REPLACE INTO words (rowid, title, text) VALUES (?, 'title', ?)", (number + 1, "ferrets"))
        search("ferrets")

    told("FTS5", began, questions, search, update)


def tantivy(folder: Path, texts: list[str], questions: list[str]) -> None:
    began = time.perf_counter()
    words = WordIndex(folder / "words")
    words.add(Added(number, "title", text, b"") for number, text in enumerate(texts, 1))
    words.commit(Mark("made", 1, len(texts)))

    def update(number: int) -> None:
        words.remove([number + 1])
        words.add([Added(len(texts) + number + 1, "title", "ferrets", b"")])
        words.commit(Mark("made", number + 2, len(texts)))
        words.search("ferrets", 1, 2.0)

    told("Tantivy", began, questions, lambda question: words.search(question, FOUND, 2.0), update)
    words.settle()


def bm25s(folder: Path, texts: list[str], questions: list[str]) -> None:
    try:
        import bm25s as engine  # noqa: PLC0415  # it may not be there
    except ImportError:
        print("  bm25s    skipped: pip install bm25s")
        return
    del folder
    quiet = {"show_progress": False}
    began = time.perf_counter()

    def built(texts: list[str]):
        index = engine.BM25()
        index.index(engine.tokenize(texts, stopwords=None, **quiet), **quiet)
        return index

    index = built(texts)

    def search(question: str) -> object:
        return index.retrieve(engine.tokenize([question], stopwords=None, **quiet), k=FOUND, **quiet)

    def update(number: int) -> None:
        built([*texts[number + 1 :], "ferrets"])  # it knows no other way than to build everything anew

    told("bm25s", began, questions, search, update)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000")
    for size in map(int, parser.parse_args().sizes.split(",")):
        print(f"{size:,} passages")
        texts, questions = passages(size)
        for engine in (fts5, tantivy, bm25s):
            with tempfile.TemporaryDirectory(dir=Path(__file__).parent, prefix="engines-") as folder:
                engine(Path(folder), texts, questions)


if __name__ == "__main__":
    sys.exit(main())
