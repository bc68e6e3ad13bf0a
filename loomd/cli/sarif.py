"""Problems in the Static Analysis Results Interchange Format (SARIF 2.1.0), which code scanners and editors read.

A problem becomes a result with its rule, its region and, where there is one, the related place. Called by `validate`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from loomd import __version__
from loomd.manifest.code import CODES
from loomd.manifest.problem import Position, Problem

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_HOME = "https://loomd.dev"


def to_sarif(problems: Iterable[Problem]) -> dict[str, Any]:
    """Return a SARIF log of problems; the paths of files stay relative when they are."""
    problems = list(problems)
    codes = sorted({one.code for one in problems})
    driver = {
        "name": "loomd",
        "version": __version__,
        "informationUri": _HOME,
        "rules": [_rule(code) for code in codes],
    }
    results = [_result(one, codes.index(one.code)) for one in problems]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(code: str) -> dict[str, Any]:
    meaning = CODES[code]
    name = "".join(part.capitalize() for part in code.split("-"))
    return {
        "id": code,
        "name": name,
        "shortDescription": {"text": meaning.summary},
        "help": {"text": meaning.help},
    }


def _result(problem: Problem, rule: int) -> dict[str, Any]:
    hint = f" ({problem.hint})" if problem.hint else ""
    found: dict[str, Any] = {
        "ruleId": problem.code,
        "ruleIndex": rule,
        "level": problem.severity,
        "message": {"text": problem.message + hint},
        "locations": [{**_location(problem.position), **_logical(problem)}],
    }
    if problem.related is not None:
        found["relatedLocations"] = [{**_location(problem.related), "message": {"text": "see here"}}]
    details = {"pointer": problem.pointer, "object": problem.object, "expected": problem.expected, "got": problem.got}
    found["properties"] = {name: value for name, value in details.items() if value}
    return found


def _location(at: Position) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(at.file)}}
    if at.line:
        place["region"] = {"startLine": at.line, "startColumn": max(at.column, 1)}
    return {"physicalLocation": place}


def _logical(problem: Problem) -> dict[str, Any]:
    if not problem.object:
        return {}
    return {"logicalLocations": [{"fullyQualifiedName": f"{problem.object}{problem.pointer}", "kind": "object"}]}


def _uri(name: str) -> str:
    path = Path(name)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
