"""Writes the documents of this example: Python's language reference and loomd's own documentation, as Markdown.

The reference comes with every Python (`pydoc_data.topics`), so nothing is fetched. Run it again at any time: files are
written only when they change, and what is no longer made is removed.
"""

import re
import sys
from pathlib import Path
from pydoc_data.topics import topics

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
DOCUMENTS = HERE / "documents"

NOTICE = """\
# About these documents

The files in `python/` are topics of the Python {version} language reference, taken from the module `pydoc_data.topics`
of the Python that wrote them, with headings changed to Markdown. Copyright (c) 2001 Python Software Foundation; all
rights reserved. They are used under the PSF License Agreement, <https://docs.python.org/3/license.html>.

The files in `loomd/` are copies of loomd's own documentation, Apache-2.0.

Everything here is written by `build.py`; edits are lost.
"""

LEVELS = {"*": 1, "=": 2, "-": 3, "~": 4, '"': 5}


def to_markdown(text: str) -> str:
    """Return a topic with its underlined headings as Markdown headings and nothing else changed."""
    made: list[str] = []
    for line in text.rstrip().split("\n"):
        above = made[-1] if made else ""
        if _is_underline(line) and above and not above[0].isspace() and len(line) >= len(above):
            made[-1] = f"{'#' * LEVELS[line[0]]} {above}"
        elif re.fullmatch(r"-\[ .+ \]-", line):
            made.append(f"## {line[3:-3]}")
        else:
            made.append(line)
    return "\n".join(made) + "\n"


def _is_underline(line: str) -> bool:
    return len(line) > 2 and line[0] in LEVELS and line == line[0] * len(line)


def documents() -> dict[str, str]:
    """Return every document by its path below `documents/`."""
    made = {"README.md": NOTICE.format(version=f"{sys.version_info.major}.{sys.version_info.minor}")}
    for name, text in topics.items():
        made[f"python/{name}.md"] = to_markdown(text)
    for path in [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]:
        made[f"loomd/{path.relative_to(PROJECT).as_posix()}"] = path.read_text(encoding="utf-8")
    return made


def build(folder: Path = DOCUMENTS) -> int:
    """Write the documents into a folder and return how many files changed."""
    wanted = {folder / path: text for path, text in documents().items()}
    stale = [path for path in folder.rglob("*.md") if path not in wanted]
    changed = [path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        path.unlink()
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
    return len(stale) + len(changed)


if __name__ == "__main__":
    count = build()
    print(f"examples/01-quickstart/documents: {len(documents())} documents, {count} changed")
