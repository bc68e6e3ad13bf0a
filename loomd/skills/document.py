"""A skill document, `SKILL.md`: YAML front matter with `name` and `description`, then instructions in Markdown.

The format is the open one of agentskills.io, so that a skill written for another program works here. Reads one file,
runs nothing that it may bring along.
"""

from pathlib import Path
from typing import NamedTuple

from loomd.errors import Permanent
from loomd.manifest.document import read_documents

_FENCE = "---"


class SkillDocument(NamedTuple):
    """What a skill document says."""

    name: str
    description: str
    instructions: str


def read_skill(path: Path, limit: int) -> SkillDocument:
    """Return the content of a skill document.

    Args:
        path: the file.
        limit: largest size in bytes.

    Raises:
        Permanent: it cannot be read, is too large, or has no front matter with name and description.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise Permanent(f'"{path.name}" cannot be read: {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise Permanent(f'"{path.name}" cannot be read as UTF-8 text: {error}') from error
    if len(data) > limit:
        raise Permanent(f'"{path.name}" is larger than spec.maxSize ({limit} bytes)')
    lines = text.splitlines()
    if not lines or lines[0].rstrip() != _FENCE:
        raise Permanent(f'"{path.name}" does not begin with front matter between two lines of ---')
    end = next((at for at, line in enumerate(lines[1:], 1) if line.rstrip() == _FENCE), None)
    if end is None:
        raise Permanent(f'"{path.name}" has front matter without a closing line of ---')
    matter = _read_matter("\n".join(["", *lines[1:end]]), path.name)  # an empty line for the first, so that lines count
    return SkillDocument(
        _required(matter, "name", path.name),
        _required(matter, "description", path.name),
        "\n".join(lines[end + 1 :]).strip(),
    )


def _read_matter(text: str, name: str) -> dict[str, object]:
    documents, problems = read_documents(text.encode(), name)
    if problems:
        raise Permanent(f"front matter: {problems[0]}")
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise Permanent(f'"{name}" has front matter that is not a mapping of name and description')
    return documents[0].value


def _required(matter: dict[str, object], key: str, name: str) -> str:
    value = matter.get(key)
    if not isinstance(value, str) or not value.strip():
        raise Permanent(f'"{name}" has no "{key}" in its front matter')
    return value.strip()
