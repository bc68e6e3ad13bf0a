"""A skill document, `SKILL.md`: YAML front matter with `name` and `description`, then instructions in Markdown.

The format is the open one of agentskills.io, so that a skill written for another program works here unchanged: keys
that it does not know are passed over. Reads one file, runs nothing that it may bring along.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from loomd.errors import Permanent
from loomd.manifest.document import read_documents
from loomd.manifest.problem import Problem
from loomd.manifest.wording import quoted

LONGEST_NAME = 64
"""Longest name of a skill in characters, as the format says."""
LONGEST_DESCRIPTION = 1024
"""Longest description in characters, as the format says."""
LONGEST_COMPATIBILITY = 500
"""Longest text that says what a skill needs, in characters, as the format says."""

_FENCE = "---"
_PASSED_OVER = frozenset({"merge-key", "custom-tag", "out-of-range"})
"""What manifests may not hold and YAML may; the keys that matter are checked for themselves."""
_TOOL = re.compile(r"([^\s,()]+)(?:\([^)]*\))?")


class SkillDocument(NamedTuple):
    """What a skill document says.

    Attributes:
        name: as its front matter has it.
        description: what the skill does and when to use it.
        instructions: the text below the front matter.
        compatibility: what it needs, for people; empty when it does not say.
        tools: names of the tools that may be used with it, without patterns of arguments; None when it does not say.
        hidden: whether a model may not take it up by itself (`disable-model-invocation`).
    """

    name: str
    description: str
    instructions: str
    compatibility: str = ""
    tools: tuple[str, ...] | None = None
    hidden: bool = False

    def faults(self, folder: str | None) -> Iterator[tuple[str, str]]:
        """Yield in which ways it breaks the rules of its format that no reader depends on.

        Args:
            folder: name of its folder; None when that means nothing.

        Yields:
            what is expected, and what is there instead.
        """
        name = normalize("NFKC", self.name)
        if not _is_name(name):
            yield "a name of lower-case letters, digits and single hyphens", quoted(self.name)
        elif folder is not None and normalize("NFKC", folder) != name:
            yield f"the name of its folder, {quoted(folder)}", quoted(self.name)
        limits = (
            ("name", name, LONGEST_NAME),
            ("description", self.description, LONGEST_DESCRIPTION),
            ("compatibility", self.compatibility, LONGEST_COMPATIBILITY),
        )
        for key, value, limit in limits:
            if len(value) > limit:
                yield f"a {key} of at most {limit} characters", str(len(value))


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
        if len(data) > limit:
            raise Permanent(f'"{path.name}" is larger than spec.maxSize ({limit} bytes)')
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise Permanent(f'"{path.name}" cannot be read: {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise Permanent(f'"{path.name}" cannot be read as UTF-8 text: {error}') from error
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
        compatibility=str(matter.get("compatibility") or "").strip(),
        tools=_tools(matter.get("allowed-tools"), path.name),
        hidden=matter.get("disable-model-invocation") is True,
    )


def _read_matter(text: str, name: str) -> dict[str, object]:
    documents, problems = read_documents(text.encode(), name)
    wrong: list[Problem] = [one for one in problems if not documents or one.code not in _PASSED_OVER]
    if wrong:
        raise Permanent(f"front matter: {wrong[0]}")
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise Permanent(f'"{name}" has front matter that is not a mapping of name and description')
    return documents[0].value


def _required(matter: dict[str, object], key: str, name: str) -> str:
    value = matter.get(key)
    if not isinstance(value, str) or not value.strip():
        raise Permanent(f'"{name}" has no "{key}" in its front matter')
    text = value.strip()
    if key == "name" and len(text.splitlines()) > 1:
        raise Permanent(f'"{name}" has a name of several lines in its front matter: write it on one')
    return text


def _tools(value: object, name: str) -> tuple[str, ...] | None:
    """Return the names of tools in a text, between spaces or commas, or in a list."""
    if value is None:
        return None
    texts: list[object] = value if isinstance(value, list) else [value]
    found: list[str] = []
    for text in texts:
        if not isinstance(text, str):
            raise Permanent(f'"{name}" has allowed-tools that are no text and no list of texts: write their names')
        found += (match[1] for match in _TOOL.finditer(text))
    return tuple(dict.fromkeys(found))


def _is_name(text: str) -> bool:
    """Return whether a text is a name as the format has it: no hyphen at either end, and no two in a row."""
    return all(part and part.isalnum() and part == part.lower() for part in text.split("-"))
