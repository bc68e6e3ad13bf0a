"""What validation says about a KnowledgeBase before anything opens."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from loomd.knowledge.kind import KIND
from loomd.knowledge.sources.files import FilesSource


@pytest.mark.parametrize(
    ("source", "pointer", "message"),
    [
        ({"path": "nowhere"}, "/path", 'expected a folder or file "nowhere" below'),
        ({"path": "../outside"}, "/path", "which leads out of it"),
        ({"path": "/etc"}, "/path", "expected a path relative to"),
        ({"path": "docs", "include": ["/x"]}, "/include/0", "relative to path"),
        ({"path": "docs", "exclude": ["a", "../b"]}, "/exclude/1", "relative to path"),
        ({"path": "docs", "include": ["**.md"]}, "/include/0", "** must stand alone"),
        ({"path": "docs", "include": ["*.rst", "*.adoc"]}, "/path", "that fits *.rst or *.adoc, got none"),
        ({"path": "docs", "exclude": ["*.md"]}, "/path", "got none: add one, or change include"),
    ],
)
def test_a_source_is_checked_at_validation(tmp_path: Path, source: dict[str, Any], pointer: str, message: str) -> None:
    """Paths that are not there or lead outside, and unusable patterns, are told with their place."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").touch()
    ((place, text),) = FilesSource.model_validate(source).check(tmp_path)
    assert place == pointer
    assert message in text


def test_a_good_source_has_no_problem(tmp_path: Path) -> None:
    """A folder and a single file are both fine."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").touch()
    (tmp_path / "a.md").touch()
    assert list(FilesSource(path="docs").check(tmp_path)) == []
    assert list(FilesSource(path="a.md").check(tmp_path)) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sources": []}, "sources"),
        ({"chunk": {"size": 100, "overlap": 51}}, "at most half of size"),
        ({"retrieval": {"keywordWeight": 0, "vectorWeight": 0}}, "got 0 for both"),
        ({"retrieval": {"topK": 0}}, "topK"),
        ({"retrieval": {"filter": {"team": []}}}, "at least 1 item"),
    ],
    ids=["no-source", "overlap", "weights", "top-k", "filter"],
)
def test_settings_that_make_no_sense_are_refused(fields: dict[str, Any], message: str) -> None:
    """The message says which setting."""
    raw = {"sources": [{"path": "docs"}], "embedder": "e", **fields}
    with pytest.raises(ValidationError, match=message):
        KIND.adapter.validate_python(raw)
