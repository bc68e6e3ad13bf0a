from pathlib import Path
from typing import Any

import pytest

from loomd.errors import Permanent
from loomd.skills.activation import Activation
from loomd.skills.kind import KIND

GOOD = (
    "---\nname: tides\ndescription: When the sea comes and goes.\nlicense: CC0\n---\n\n# Tides\n\nLook at the moon.\n"
)


@pytest.mark.parametrize(
    ("keywords", "text", "fits"),
    [
        pytest.param(["tide"], "When is high tide?", True, id="word"),
        pytest.param(["tide"], "TIDE tables", True, id="case"),
        pytest.param(["tide"], "a tidy room", False, id="part-of-a-word"),
        pytest.param(["high tide"], "the high-tide mark", True, id="phrase"),
        pytest.param(["flut", "straße"], "in der STRASSE", True, id="unicode"),
        pytest.param([], "anything", True, id="no-keywords"),
        pytest.param(["moon"], "", False, id="empty-text"),
    ],
)
def test_activation(keywords: list[str], text: str, *, fits: bool) -> None:
    """A skill applies when a keyword stands in the text as a word."""
    assert Activation(keywords, always=False).fits(text) is fits


def test_always() -> None:
    """A skill may apply always, whatever its keywords."""
    assert Activation(["moon"], always=True).fits("sun")


async def test_a_document(skill: Any, tmp_path: Path) -> None:
    """The instructions of a document enter the prompt, not its front matter."""
    (tmp_path / "SKILL.md").write_text(GOOD)
    async with skill({"file": "SKILL.md", "triggers": {"keywords": ["sea"]}}) as live:
        assert (live.name, live.instructions) == ("it", "# Tides\n\nLook at the moon.")
        assert live.fits("the sea")
        assert not live.fits("the land")


async def test_inline(skill: Any) -> None:
    """Instructions may stand in the manifest."""
    async with skill({"instructions": "Be kind."}) as live:
        assert live.instructions == "Be kind."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("# Tides\n", "does not begin with front matter", id="none"),
        pytest.param("---\nname: a\n", "without a closing line", id="open"),
        pytest.param("---\nname: a\n---\n", 'has no "description"', id="no-description"),
        pytest.param("---\ndescription: a\n---\n", 'has no "name"', id="no-name"),
        pytest.param("---\n- a\n---\n", "not a mapping", id="list"),
        pytest.param("---\nname: [a\n---\n", "front matter: ", id="broken"),
        pytest.param("---\nname: a\nx: 1: 2\n---\n", "front matter: SKILL.md:3:5: ", id="line"),
        pytest.param(f"---\nx: {'[' * 5000}\n---\n", "front matter: ", id="nesting"),
        pytest.param(GOOD + "x" * 70_000, "larger than", id="size"),
    ],
)
async def test_bad_documents(skill: Any, tmp_path: Path, text: str, message: str) -> None:
    """A document that cannot be used is a problem at validation and an error when it opens."""
    (tmp_path / "SKILL.md").write_text(text)
    found = list(KIND.adapter.validate_python({"file": "SKILL.md"}).check(tmp_path))
    assert [pointer for pointer, _ in found] == ["/file"]
    assert message in found[0][1]
    with pytest.raises(Permanent, match=r"Skill/it spec\.file: "):
        async with skill({"file": "SKILL.md"}):
            pass


def test_check(tmp_path: Path) -> None:
    """A missing file is a problem, a good one and inline instructions are none."""
    (tmp_path / "SKILL.md").write_text(GOOD)
    (tmp_path / "latin.md").write_bytes(b"---\nname: \xe9\n---\n")
    for spec, pointers in (
        ({"file": "SKILL.md"}, []),
        ({"file": "gone.md"}, ["/file"]),
        ({"file": "latin.md"}, ["/file"]),
        ({"file": "../SKILL.md"}, ["/file"]),
        ({"instructions": "x"}, []),
    ):
        assert [pointer for pointer, _ in KIND.adapter.validate_python(spec).check(tmp_path)] == pointers


@pytest.mark.parametrize("spec", [{}, {"file": "a.md", "instructions": "b"}], ids=["none", "both"])
def test_exactly_one(spec: dict[str, object]) -> None:
    """A skill is a file or text, never both or neither."""
    with pytest.raises(ValueError, match="expected exactly one of file, instructions"):
        KIND.adapter.validate_python(spec)
