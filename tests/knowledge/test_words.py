"""The index of words: finds, removes, and never trusts its files."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from loomd.errors import Damaged
from loomd.knowledge.store import Added
from loomd.knowledge.words import WordIndex, broken_files
from loomd.vectors.faiss_index import Mark

CHUNKS = [
    Added(1, "Dunder methods", "call __enter__ or running near NOT", b""),
    Added(2, "Other", "plain text about a café", b""),
]


def filled(folder: Path) -> WordIndex:
    """Return an index of two passages."""
    words = WordIndex(folder)
    words.add(CHUNKS)
    words.commit(Mark("store", 1, 2))
    return words


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WordIndex]:
    """Return an index of two passages."""
    index = filled(tmp_path_factory.mktemp("words") / "a.words")
    yield index
    index.settle()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
@example('"')
@example('a" OR "b')
@example("NEAR(a b, 3) AND NOT title:x* ^y {a b}: -c + d")
@example("title:dunder OR *")
@example("\x00nul\x00")
@example("___ __ _")
@example("² ½ ⅷ 你好 \u0301 \ud800")
@example("( ) [ ] * ? \\ / %")
def test_no_question_is_a_syntax_error(words: WordIndex, question: str) -> None:
    """Operators, quotes and odd characters have no meaning; the search runs."""
    words.search(question.encode("utf-8", "replace").decode(), 10, 2.0)


@pytest.mark.parametrize(
    ("question", "ident"), [("__enter__", 1), ("runs", 1), ("dunder", 1), ("cafe", 2), ("Café?", 2), ("others", 2)]
)
def test_identifiers_stems_accents_and_titles_are_found(words: WordIndex, question: str, ident: int) -> None:
    """An identifier, another form of a word, one without its accents, and a word of the title lead to the passage."""
    ((found, score),) = words.search(question, 10, 2.0)
    assert (found, score > 0) == (ident, True)


def test_a_word_of_the_title_counts_more(tmp_path: Path) -> None:
    """With a weight of 1 the title is text like any other, with more it wins."""
    words = WordIndex(tmp_path / "a")
    words.add([Added(1, "Cats", "sleep all day in the sun", b""), Added(2, "Pets", "cats sleep, cats purr, cats", b"")])
    words.commit(Mark("store", 1, 2))
    assert [ident for ident, _ in words.search("cats", 2, 1.0)] == [2, 1]
    assert [ident for ident, _ in words.search("cats", 2, 5.0)] == [1, 2]
    words.settle()


def test_removed_is_gone_and_the_mark_is_that_of_the_commit(tmp_path: Path) -> None:
    """A mark is stored with what it speaks of, each once; what was not committed is lost."""
    words = filled(tmp_path / "a")
    words.remove([1])
    words.commit(Mark("store", 2, 2))
    assert words.search("dunder", 5, 2.0) == []
    words.settle()
    words.remove([2])
    words.settle()
    again = WordIndex(tmp_path / "a")
    assert again.mark == Mark("store", 2, 2)
    assert [ident for ident, _ in again.search("plain", 5, 2.0)] == [2]


def test_a_new_index_has_no_mark(tmp_path: Path) -> None:
    """Nothing was ever committed."""
    assert WordIndex(tmp_path / "a").mark is None


def test_every_file_is_checked(tmp_path: Path) -> None:
    """A byte that changed in any file of content is noticed, and so is one that was cut."""
    folder = tmp_path / "a"
    filled(folder).settle()
    files = [file for file in sorted(folder.iterdir()) if file.suffix not in {".json", ".lock"}]
    assert len(files) > 4
    for file in files:
        data = file.read_bytes()
        for harmed in (data[:-1], b"", bytes([data[0] ^ 1]) + data[1:], data[: len(data) // 2]):
            file.write_bytes(harmed)
            assert list(broken_files(folder)) == [file.name]
            with pytest.raises(Damaged, match=file.name):
                WordIndex(folder)
        file.write_bytes(data)
    assert list(broken_files(folder)) == []


def test_what_a_killed_process_had_begun_is_nobodys(tmp_path: Path) -> None:
    """Files that no commit names harm nothing."""
    folder = tmp_path / "a"
    filled(folder).settle()
    (folder / f"{'0' * 32}.store").write_bytes(b"half")
    assert list(broken_files(folder)) == []
    assert [ident for ident, _ in WordIndex(folder).search("plain", 5, 2.0)] == [2]


@pytest.mark.parametrize("harmed", [b"", b"{}", b"[1]", b"no json"])
def test_a_damaged_list_of_files_is_damage(tmp_path: Path, harmed: bytes) -> None:
    """The file that names all others is read when the index opens."""
    folder = tmp_path / "a"
    filled(folder).settle()
    (folder / "meta.json").write_bytes(harmed)
    with pytest.raises(Damaged, match="cannot be opened"):
        WordIndex(folder)
