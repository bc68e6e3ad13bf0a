"""What an answer must satisfy: one type for tasks, schedules and tests, and one way to hold an answer against it.

`Expect` is what a task carries, `ExpectSpec` is how manifests write it. What needs no process is looked at here;
Python checks run in a sandbox, see `loomd.tools.python_check`. Called by EVALUATE, and by tests of agents.
"""

import ast
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from pydantic import Field

from loomd.agents.schema import violation
from loomd.errors import Permanent
from loomd.manifest.inline_schema import schema_faults
from loomd.manifest.inside import inside, named
from loomd.manifest.kind import Spec
from loomd.manifest.python_file import MAX_FILE, functions_of, read_source
from loomd.manifest.quantity import Duration
from loomd.manifest.wording import did_you_mean, quoted
from loomd.messages import JsonObject
from loomd.tools.check import TIMEOUT, Check, Checked

TAKES = ("answer", "goal")
"""Parameters that a check may have; it must have the first."""
_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"


class Expect(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the answer must satisfy, declared with the task; all that is set must hold.

    Attributes:
        contains: texts that it must contain; the case of letters does not count.
        cites: whether it must cite a source.
        output_schema: JSON Schema that the whole of it must satisfy as JSON.
        equals: the whole of it; spaces around it do not count.
        matches: regular expression that must fit somewhere.
        checks: functions that must agree.
    """

    contains: tuple[str, ...] = ()
    cites: bool = False
    output_schema: JsonObject | None = None
    equals: str | None = None
    matches: str | None = None
    checks: tuple[Check, ...] = ()


class Met(msgspec.Struct, frozen=True, omit_defaults=True):
    """One expectation, and whether an answer meets it.

    Attributes:
        field: the field of the manifest, such as `contains`.
        said: what is expected, as a sentence about the answer.
        wanted: what is expected, as a thing.
        wrong: what is wrong; empty when it is met.
        broken: whether the expectation itself is at fault, so that it says nothing of the answer.
    """

    field: str
    said: str
    wanted: str
    wrong: str = ""
    broken: bool = False


class CheckSpec(Spec):
    """A Python function that says whether an answer will do. It runs in a sandbox without files and network."""

    file: str = Field(examples=["checks/fee.py"])
    """Path of the file, from the manifest's root and below it. It needs nothing but Python's standard library."""
    function: str = Field(default="check", pattern=_NAME, examples=["check"])
    """Name of a function at the top level of the file. It takes `answer`, and may take `goal`, both texts. The answer
    will do when it returns nothing or `True`; it will not when it returns `False` or a text that says why, or raises,
    as `assert` does."""
    timeout: Duration = Field(default=TIMEOUT, gt=0, le=300)
    """Longest time of a call; an answer with which it takes longer will not do."""

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield a missing file, a syntax error, and a function that is missing or takes something else."""
        try:
            source = read_source(inside(root, self.file)).decode("utf-8", "replace")
        except Permanent as error:
            yield "/file", str(error)
            return
        for field, text in _check_faults(Check(source, self.function, self.file)):
            yield f"/{field}", text

    def reads(self, root: Path) -> Iterator[Path]:
        """Yield the file."""
        yield named(root, self.file)

    def carried(self, root: Path) -> Check:
        """Return the check with what its file holds now.

        Raises:
            Permanent: it cannot be read.
        """
        source = read_source(inside(root, self.file)).decode("utf-8", "replace")
        return Check(source, self.function, self.file, self.timeout)


class ExpectSpec(Spec):
    """What the answer must satisfy; all that is set must hold, and counts in the evaluation."""

    equals: str | None = Field(default=None, examples=["It costs 2.40 euros."])
    """The whole answer; spaces around it do not count."""
    contains: list[str] = Field(default_factory=list, examples=[["2.40"]])
    """Texts that the answer must contain; the case of letters does not count. Use `matches` where it does."""
    matches: str | None = Field(default=None, examples=[r"\d+\.\d\d euros"])
    """Regular expression that must fit somewhere in the answer."""
    output_schema: dict[str, Any] | None = Field(default=None, examples=[{"type": "object", "required": ["fee"]}])
    """JSON Schema that the whole answer must satisfy as JSON."""
    cites: bool = False
    """Whether the answer must cite a source."""
    checks: list[CheckSpec] = Field(default_factory=list, max_length=20, examples=[[{"file": "checks/fee.py"}]])
    """Python functions that must agree."""

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield a pattern or a schema that is none."""
        del root
        if self.output_schema is not None:
            yield from schema_faults(self.output_schema, "/outputSchema")
        if self.matches is not None and (fault := _pattern_fault(self.matches)):
            yield "/matches", fault, "invalid-value"

    def carried(self, root: Path) -> Expect:
        """Return what a task carries.

        Args:
            root: folder that the path of a check starts from.

        Raises:
            Permanent: the file of a check cannot be read.
        """
        checks = tuple(one.carried(root) for one in self.checks)
        return Expect(tuple(self.contains), self.cites, self.output_schema, self.equals, self.matches, checks)


def refuse_faulty(expect: Expect) -> None:
    """Refuse what no answer could be held against.

    Raises:
        Permanent: there is something; the text names the field.
    """
    faults = [("output_schema", text) for _, text, _ in _schema_faults(expect)]
    if expect.matches is not None and (fault := _pattern_fault(expect.matches)):
        faults.append(("matches", fault))
    for at, one in enumerate(expect.checks):
        faults += [(f"checks[{at}].{field}", text) for field, text in _check_faults(one)]
    if faults:
        field, text = faults[0]
        raise Permanent(f"expect.{field}: {text}")


def hold(expect: Expect, answer: str, *, cites: bool) -> list[Met]:
    """Return what is expected of an answer but for the checks, each with whether it is met.

    Args:
        expect: what is expected.
        answer: the answer.
        cites: whether it cites a source.
    """
    found: list[Met] = []
    text, shown = answer.strip(), f'"{answer}"' if answer else "nothing"
    if (whole := expect.equals) is not None:
        found.append(_met("equals", f'it is "{whole}"', f'"{whole}"', text == whole.strip(), shown))
    folded = text.casefold()
    for word in expect.contains:
        met = word.casefold() in folded
        found.append(_met("contains", f'it contains "{word}"', f'a text with "{word}"', met, shown))
    if (pattern := expect.matches) is not None:
        wanted = f'a text that fits "{pattern}"'
        found.append(_met("matches", f'it fits "{pattern}"', wanted, _matches(pattern, answer), shown))
    if expect.output_schema is not None:
        wrong = violation(text, expect.output_schema)
        said = f"it fits the schema{'' if wrong is None else f' ({wrong})'}"
        found.append(_met("outputSchema", said, "JSON of the schema", wrong is None, f"{shown} ({wrong})"))
    if expect.cites:
        found.append(_met("cites", "it cites a source", "a text that cites a source", cites, shown))
    return found


async def held(expect: Expect, answer: str, *, cites: bool, run: Callable[[Check], Awaitable[Checked]]) -> list[Met]:
    """Return all that is expected of an answer, each with whether it is met; see `hold`.

    Args:
        expect: what is expected.
        answer: the answer.
        cites: whether it cites a source.
        run: asks a check about the answer.
    """
    found = hold(expect, answer, cites=cites)
    for one in expect.checks:
        said = await run(one)
        name = f"{one.file}:{one.function}"
        wanted = f"a text with which {name} agrees"
        met = Met("checks", f"{name} agrees", wanted, "" if said.good else said.text or "no", said.broken)
        found.append(met)
    return found


def _met(field: str, said: str, wanted: str, met: bool, wrong: str) -> Met:
    return Met(field, said, wanted, "" if met else wrong)


def _matches(pattern: str, text: str) -> bool:
    """Return whether a pattern fits somewhere; not by `re`, which a pattern can hang."""
    import jsonschema_rs  # noqa: PLC0415  # a compiled library that validation need not load

    return bool(jsonschema_rs.is_valid({"pattern": pattern}, text))


def _pattern_fault(pattern: str) -> str:
    import jsonschema_rs  # noqa: PLC0415  # see above

    try:
        jsonschema_rs.validator_for({"pattern": pattern})
    except ValueError as error:
        return f"expected a regular expression: {str(error).splitlines()[0]}"
    return ""


def _schema_faults(expect: Expect) -> Iterator[tuple[str, str, str]]:
    if expect.output_schema is not None:
        yield from schema_faults(expect.output_schema, "")


def _check_faults(check: Check) -> Iterator[tuple[str, str]]:
    """Yield what keeps a check from being called, as far as its text tells: the field, and what is wrong."""
    if len(check.source.encode("utf-8", "replace")) > MAX_FILE:
        yield "file", f"expected a file of at most {MAX_FILE >> 10} KiB, got a larger one: split it"
        return
    if not 0 < check.timeout <= 300:  # as the manifest says
        yield "timeout", f"expected more than 0 and at most 300 seconds, got {check.timeout:g}"
    try:
        functions = functions_of(check.source.encode("utf-8", "replace"), Path(check.file))
    except Permanent as error:
        yield "file", str(error)
        return
    function = functions.get(check.function)
    if function is None:
        hint = did_you_mean(check.function, functions, "it has") or "it has none"
        yield "function", f"expected a function of {quoted(check.file)}, got {quoted(check.function)}: {hint}"
        return
    names = parameters(function)
    if (
        names is None
        or not set(names) <= set(TAKES)
        or TAKES[0] not in names
        or isinstance(function, ast.AsyncFunctionDef)
    ):
        yield (
            "function",
            f'expected "def {check.function}(answer)" or "def {check.function}(answer, goal)", got another one',
        )


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str] | None:
    """Return the names of what a function takes; None of one that takes any number of things."""
    takes = function.args
    if takes.vararg or takes.kwarg or takes.posonlyargs:
        return None
    return [one.arg for one in (*takes.args, *takes.kwonlyargs)]
