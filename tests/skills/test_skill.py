"""Skill objects: from documents, from folders, and from text in the manifest."""

from pathlib import Path
from typing import Any

import pytest

from loomd.errors import Permanent, ToolFailed
from loomd.skills.kind import KIND

GOOD = (
    "---\nname: tides\ndescription: When the sea comes and goes.\nlicense: CC0\n---\n\n# Tides\n\nLook at the moon.\n"
)


def problems(spec: dict[str, object], root: Path) -> list[tuple[str, str]]:
    """Return what validation says, and where."""
    return [(pointer, text) for pointer, text, *_ in KIND.adapter.validate_python(spec).check(root)]


async def test_a_document(skill: Any, tmp_path: Path) -> None:
    """A single document is called as its object is; the model decides about it, by its description."""
    (tmp_path / "SKILL.md").write_text(GOOD)
    async with skill({"file": "SKILL.md"}) as live:
        one = live.skills["it"]
        assert (one.name, one.instructions) == ("it", "# Tides\n\nLook at the moon.")
        assert (one.description, one.files, one.tools) == ("When the sea comes and goes.", (), None)
        assert one.offered
        assert not await live.fits("anything")
        with pytest.raises(ToolFailed, match="it has no files"):
            await one.read("SKILL.md")


async def test_inline(skill: Any) -> None:
    """Instructions in the manifest apply to every task."""
    async with skill({"instructions": "Be kind."}) as live:
        assert live.skills["it"].instructions == "Be kind."
        assert not live.skills["it"].offered
        assert (await live.fits("anything"))["it"].trigger == "always"


async def test_a_folder(skill: Any, write: Any) -> None:
    """A skill's folder brings its files along, which can be read by their paths."""
    matter = "name: pdf\ndescription: Forms.\nallowed-tools: Read Bash(x:*) Grep"
    write("pdf", matter, **{"references/a.md": "Text of A.", "scripts/run.py": "print()"})
    spec = {"directory": "pdf", "toolNames": {"Read": ["read-file", "search"], "Bash": []}, "priority": 3}
    async with skill({**spec, "maxResource": "4"}) as live:
        one = live.skills["pdf"]
        assert one.files == ("references/a.md", "scripts/run.py")
        assert (one.tools, one.priority) == (("read-file", "search", "Grep"), 3)
        assert await one.read("./references/a.md") == "Text\n[cut: 4 of 10 bytes]"
        with pytest.raises(ToolFailed, match=r'no file "references/b.md": did you mean "references/a.md"'):
            await one.read("references/b.md")
        for path in ("../SKILL.md", "/etc/passwd", "references/../../secret", "SKILL.md", ""):
            with pytest.raises(ToolFailed, match="has no file"):
                await one.read(path)


async def test_a_file_that_becomes_a_link_out(skill: Any, write: Any, tmp_path: Path) -> None:
    """What was right when the skill was opened is looked at again when it is read."""
    place = write("pdf", **{"a.md": "A"})
    (tmp_path / "secret").write_text("secret")
    async with skill({"directory": "pdf"}) as live:
        (place / "a.md").unlink()
        (place / "a.md").symlink_to("../secret")
        with pytest.raises(ToolFailed, match="leads out of the skill's folder"):
            await live.skills["pdf"].read("a.md")


async def test_a_folder_of_folders(skill: Any, write: Any) -> None:
    """One object stands for all skills below a folder; one that hides from models is not offered."""
    write(".agents/skills/pdf")
    write(".agents/skills/more/docx", "name: docx\ndescription: D.\ndisable-model-invocation: true")
    write(".agents/skills/old", "name: [broken")
    async with skill({"directory": ".agents/skills", "exclude": ["old"]}) as live:
        assert {name: one.offered for name, one in live.skills.items()} == {"docx": False, "pdf": True}


async def test_a_skill_that_is_the_root(skill: Any, tmp_path: Path) -> None:
    """The name of the root means nothing: a repository is exported below another one."""
    (tmp_path / "SKILL.md").write_text(GOOD)
    async with skill({"directory": "."}) as live:
        assert list(live.skills) == ["tides"]


def test_all_problems_of_a_folder_are_told(write: Any, tmp_path: Path) -> None:
    """Each skill says what is wrong with it, and where."""
    write("s/a", "name: A\ndescription: x")
    write("s/b", "name: c\ndescription: x")
    write("s/d", "name: d")
    write("s/e/same", "name: same\ndescription: x")
    write("s/f/same", "name: same\ndescription: x")
    write("s/ok")
    act = "mend it, leave it out with spec.exclude"
    loose = f"{act}, or take it as it is with strict: false"
    assert problems({"directory": "s"}, tmp_path) == [
        ("/directory", f'expected in s/a a name of lower-case letters, digits and single hyphens, got "A": {loose}'),
        ("/directory", f'expected in s/b the name of its folder, "b", got "c": {loose}'),
        ("/directory", 's/d: "SKILL.md" has no "description" in its front matter'),
        ("/directory", f'expected in s/f/same a name of its own, got "same", as in s/e/same: {act}'),
    ]


async def test_strict_or_not(skill: Any, write: Any, tmp_path: Path) -> None:
    """What no reader depends on may be let pass."""
    write("s/a", f"name: My-Skill\ndescription: {'x' * 1068}")
    assert len(problems({"directory": "s"}, tmp_path)) == 2
    assert problems({"directory": "s", "strict": False}, tmp_path) == []
    async with skill({"directory": "s", "strict": False}) as live:
        assert list(live.skills) == ["My-Skill"]


@pytest.mark.parametrize(
    "spec", [{"file": "SKILL.md"}, {"directory": "."}, {"directory": "s"}], ids=["file", "folder", "folders"]
)
async def test_what_cannot_be_used(skill: Any, write: Any, tmp_path: Path, spec: dict[str, object]) -> None:
    """A document that cannot be used is a problem at validation and an error when it opens."""
    (tmp_path / "SKILL.md").write_text("---\nname: a\n---\n")
    write("s/a", "name: a")
    field = next(iter(spec))
    (problem,) = problems(spec, tmp_path)
    assert problem[0] == f"/{field}"
    assert 'has no "description"' in problem[1]
    with pytest.raises(Permanent, match=rf"Skill/it spec\.{field}: "):
        async with skill(spec):
            pass


@pytest.mark.parametrize(
    ("spec", "pointers"),
    [
        ({"file": "SKILL.md"}, []),
        ({"file": "gone.md"}, ["/file"]),
        ({"file": "latin.md"}, ["/file"]),
        ({"file": "../SKILL.md"}, ["/file"]),
        ({"file": "SKILL.md", "exclude": ["x"]}, ["/exclude"]),
        ({"directory": "s"}, []),
        ({"directory": "s", "description": "x"}, ["/directory"]),
        ({"directory": "gone"}, ["/directory"]),
        ({"instructions": "x"}, []),
        ({"instructions": "x", "triggers": [{"type": "always"}, {"type": "model"}]}, ["/triggers/1"]),
        ({"instructions": "x", "description": "y", "triggers": [{"type": "model"}]}, []),
    ],
)
def test_check(spec: dict[str, object], pointers: list[str], write: Any, tmp_path: Path) -> None:
    """Missing files are problems, and so are fields that mean nothing together."""
    (tmp_path / "SKILL.md").write_text(GOOD)
    (tmp_path / "latin.md").write_bytes(b"---\nname: \xe9\n---\n")
    write("s/a")
    write("s/b")
    assert [pointer for pointer, _ in problems(spec, tmp_path)] == pointers


async def test_a_description_in_the_manifest(skill: Any, write: Any) -> None:
    """What one skill says of itself may be said better, without an edit of its document."""
    write("s/a")
    async with skill({"directory": "s", "description": "For forms only."}) as live:
        assert live.skills["a"].description == "For forms only."


def test_every_file_counts(write: Any, tmp_path: Path) -> None:
    """All files of all skills are read for the digest, so that an edit of any of them is a change."""
    write("s/a", **{"assets/x.bin": "x"})
    write("s/b")
    read = KIND.adapter.validate_python({"directory": "s"}).reads(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in read] == [
        "s/a/SKILL.md",
        "s/a/assets/x.bin",
        "s/b/SKILL.md",
    ]


@pytest.mark.parametrize(
    "spec",
    [{}, {"file": "a.md", "instructions": "b"}, {"file": "a.md", "directory": "b"}],
    ids=["none", "two", "paths"],
)
def test_exactly_one(spec: dict[str, object]) -> None:
    """A skill is a folder, a file or text, never two of them or none."""
    with pytest.raises(ValueError, match="expected exactly one of directory, file, instructions"):
        KIND.adapter.validate_python(spec)
