"""What installed packages may bring, told at a glance."""

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loomd.manifest import installed


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    """Look anew in every test, and leave nothing behind."""
    installed._entry_points.cache_clear()
    yield
    installed._entry_points.cache_clear()


def test_it_says_no_more_and_no_less_than_the_library() -> None:
    """Every group that the library finds is found, and one that no package has is not."""
    groups = importlib.metadata.entry_points().groups
    assert groups
    assert all(installed.may_bring(f"{group}]") for group in groups)
    assert installed.may_bring("nosuch.") == any(group.startswith("nosuch.") for group in groups)


@pytest.mark.parametrize("form", ["dist-info", "egg-info"])
def test_a_package_that_was_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """Its groups are read where pip and setuptools write them."""
    place = tmp_path / f"acme-1.0.{form}"
    place.mkdir()
    (place / "entry_points.txt").write_text("[loomd.tools]\nx = acme.x\n", "utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "away")])
    assert installed.may_bring("loomd.")
    assert not installed.may_bring("pydantic]")


@pytest.mark.parametrize("name", ["lib.zip", "acme-1.0.egg"])
def test_what_cannot_be_told_at_a_glance_may_bring_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """An archive on the path, and an egg, are left to the library."""
    (tmp_path / name).write_bytes(b"x")
    monkeypatch.setattr(sys, "path", [str(tmp_path / name if name.endswith("zip") else tmp_path)])
    assert installed.may_bring("loomd.")
    assert installed.may_bring("pydantic]")
