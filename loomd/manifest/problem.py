"""A problem is one thing that is wrong with a manifest: where, what was expected, what was found, what to do.

Problems are collected, never raised one by one: whoever edits YAML sees all of them at once, sorted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from loomd.errors import Permanent
from loomd.manifest.wording import visible, without_secrets

_TEXTS = ("message", "pointer", "hint", "object", "expected", "got")


@dataclass(frozen=True, order=True)
class Position:
    """A place in a file. `line` and `column` count from 1; 0 means the whole file, or the whole line."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Return `file:line:column`, as editors and terminals link it."""
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        position: where it is in the file.
        code: stable, kebab-case, for example `unknown-field`.
        message: one sentence that names object, field and both values.
        pointer: JSON pointer inside the document, `/spec/provider`.
        hint: the next act, for example `did you mean "openai"?`.
        related: another place that matters, for example the first of two duplicates.
        object: the object that it is about, `Agent/ada`, when its name is known.
        expected: what would be right, as short as possible: `integer`, `one of openai, anthropic`.
        got: what is there instead, never a secret.
        severity: a `warning` keeps nothing from being applied.
        line: the line that it is about, without what may be secret, when the file is not where the problem is shown.
    """

    position: Position
    code: str
    message: str
    pointer: str = ""
    hint: str = ""
    related: Position | None = None
    object: str = ""
    expected: str = ""
    got: str = ""
    severity: Literal["error", "warning"] = "error"
    line: str = ""

    def __post_init__(self) -> None:
        """Leave out what has the form of a secret, and show what does not print, whoever made the text."""
        for name in _TEXTS:
            text = getattr(self, name)
            hidden = without_secrets(text) if name == "pointer" else visible(without_secrets(text))
            if hidden != text:
                object.__setattr__(self, name, hidden)

    def __str__(self) -> str:
        """Return the problem on one line."""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.position}: {self.message}{hint} [{self.code}]"

    def to_json(self) -> dict[str, Any]:
        """Return the problem as a JSON object; the position stands flat in it."""
        return {
            "code": self.code,
            "file": self.position.file,
            "line": self.position.line,
            "column": self.position.column,
            "pointer": self.pointer,
            "message": self.message,
            "hint": self.hint,
            "related": asdict(self.related) if self.related else None,
            "object": self.object,
            "expected": self.expected,
            "got": self.got,
            "severity": self.severity,
            **({"text": self.line} if self.line else {}),
        }

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> "Problem":
        """Return the problem that a JSON object of `to_json` stands for."""
        related = body["related"]
        return Problem(
            Position(body["file"], body["line"], body["column"]),
            body["code"],
            body["message"],
            body["pointer"],
            body["hint"],
            Position(**related) if related else None,
            body.get("object", ""),
            body.get("expected", ""),
            body.get("got", ""),
            body.get("severity", "error"),
            body.get("text", ""),
        )


class Problems(Permanent):
    """Manifests are not valid.

    Attributes:
        problems: all that is wrong, sorted by position.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.position, p.code, p.message)))
        super().__init__("\n".join(str(problem) for problem in self.problems))
