"""Opens Skill specs, and writes folders of skills."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from loomd.agents.base import Skills
from loomd.testing import open_spec

Open = Callable[..., AbstractAsyncContextManager[Skills]]
Write = Callable[..., Path]


@pytest.fixture
def skill(tmp_path: Path) -> Open:
    """Return an opener of Skill specs; `clock` and `live` (open things by ref) may be given."""
    return partial(open_spec, "Skill", folder=tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a writer of skills below the manifest's root: a path, the front matter, and other files by path."""

    def write(path: str, matter: str = "", body: str = "Do it.", **files: str) -> Path:
        folder = tmp_path / path
        matter = matter or f"name: {folder.name}\ndescription: About {folder.name}."
        texts = {"SKILL.md": f"---\n{matter}\n---\n\n{body}\n", **files}
        for name, text in texts.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return folder

    return write
