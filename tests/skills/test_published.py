"""Skills as their authors publish them, byte for byte: see `published/licences`, and where they come from in NOTICE."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent / "published"
NAMES = sorted(path.parent.name for path in HERE.glob("*/SKILL.md"))
LINK = re.compile(r"\]\((references/[^)#\s]+)")


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Return a root with the skills in a hidden folder, as programs install them."""
    shutil.copytree(HERE, tmp_path / ".agents/skills")
    return tmp_path


async def test_all_of_them_are_taken_as_they_are(published: Path, skill: Any) -> None:
    """One object stands for the folder; each skill has its name, what it is for, and its tools by names of here."""
    del published
    names = {"Bash": ["shell"]}
    async with skill({"directory": ".agents/skills", "toolNames": names}) as live:
        assert sorted(live.skills) == NAMES
        assert len(NAMES) == 4
        assert all(one.description and one.instructions and one.offered for one in live.skills.values())
        assert live.skills["playwright-cli"].tools == ("shell",)
        assert live.skills["fastapi"].tools is None


@pytest.mark.parametrize("name", NAMES)
async def test_what_a_document_points_at_can_be_read(published: Path, skill: Any, name: str) -> None:
    """Every file that the instructions link to is brought along, and read whole."""
    folder = published / ".agents/skills" / name
    linked = set(LINK.findall((folder / "SKILL.md").read_text("utf-8")))
    async with skill({"directory": f".agents/skills/{name}"}) as live:
        one = live.skills[name]
        assert set(one.files) >= linked
        assert len(one.files) == sum(path.is_file() for path in folder.rglob("*")) - 1
        for path in one.files:
            assert await one.read(path) == (folder / path).read_text("utf-8")
