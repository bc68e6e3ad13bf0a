"""The corpus: each file of `bad/` and `good/` holds an input and, after a marker, exactly what loomd says of it.

Used by the tests that read it in several ways; nothing here judges.
"""

from collections.abc import Iterator
from pathlib import Path

from loomd.manifest.document import read_documents
from loomd.manifest.kind import find_kinds
from loomd.manifest.load import Loader
from loomd.manifest.places import Document
from loomd.manifest.problem import Problem, Problems
from loomd.manifest.source import SourceFile
from loomd.manifest.unused import find_unused

HERE = Path(__file__).parents[1] / "manifests"
ROOT = HERE / "good"
"""The folder that relative paths in all manifests of the corpus start from."""
MARKER = b"#: expected\n"
BAD = sorted((HERE / "bad").glob("*.yaml"))
GOOD = sorted((HERE / "good").glob("*.yaml"))
NOT_SPEC = ("/apiVersion", "/kind")
"""Where a document says of what sort it is."""


def by_name(path: Path) -> str:
    """Return the id of a case."""
    return path.stem


def input_of(path: Path) -> bytes:
    """Return the manifests of a case."""
    return path.read_bytes().partition(MARKER)[0]


def documents_of(path: Path) -> list[Document]:
    """Return what can be read of a case."""
    return read_documents(input_of(path), path.name)[0]


def problems_of(data: bytes) -> list[Problem]:
    """Return what loomd says of one file: all that is wrong, or else what should be looked at."""
    loader, files = Loader(), [SourceFile(ROOT, "manifest.yaml", data)]
    found: list[Problem] = []
    try:
        found += find_unused(loader.load(files), find_kinds())
    except Problems as error:
        found += error.problems
    found += [one for document in loader.documents(files) for one in document.warnings]
    return list(Problems(found).problems)


def describe(problem: Problem) -> str:
    """Return a problem as the corpus writes it: first what people read, then the parts for machines."""
    return "".join(f"# {line}\n" for line in _lines(problem)).replace(str(ROOT), "ROOT")


def _lines(problem: Problem) -> Iterator[str]:
    at = problem.position
    severity = "" if problem.severity == "error" else f"{problem.severity} "
    yield f"{at.line}:{at.column} {severity}{problem.code} {problem.pointer or '/'}: {problem.message}"
    for name in ("hint", "object", "expected", "got"):
        value = getattr(problem, name)
        if value:
            yield f"    {name}: {value}"
    if problem.related is not None:
        yield f"    see: {problem.related.line}:{problem.related.column}"
