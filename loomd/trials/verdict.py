"""Holds what became of a task against what was expected. Pure. Called by `trial`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from loomd.amoeba.expect import Met
from loomd.amoeba.task import Result
from loomd.trials.spec import Expected, ExpectedTools, Most


@dataclass(frozen=True)
class Miss:
    """One expectation that is not met.

    Attributes:
        field: the field of the manifest, `expect.output.contains`.
        expected: what was expected, in words.
        got: what there is, in words.
    """

    field: str
    expected: str
    got: str

    def __str__(self) -> str:
        """Return it on one line."""
        return f"{self.field}: expected {self.expected}, got {self.got}"


def judge(expected: Expected, result: Result, output: Iterable[Met]) -> list[Miss]:
    """Return every expectation that a task does not meet, in the order of the fields.

    Args:
        expected: what is expected.
        result: what became of the task.
        output: what is expected of the answer, held against it.
    """
    return list(_judge(expected, result, output))


def _judge(expected: Expected, result: Result, output: Iterable[Met]) -> Iterator[Miss]:
    outcome = result.executed.outcome if result.executed else None
    if result.phase != expected.phase:
        yield Miss("expect.phase", expected.phase, f"{result.phase}: {result.error}" if result.error else result.phase)
    reason = outcome.stop_reason if outcome else "error"
    if expected.stop_reason is not None and reason != expected.stop_reason:
        yield Miss("expect.stopReason", expected.stop_reason, reason)
    winner = result.matched.winner if result.matched else ""
    if expected.winner is not None and winner != expected.winner:
        why = f" ({result.matched.why})" if result.matched else ""
        yield Miss("expect.winner", expected.winner, f"{winner or 'nobody'}{why}")
    if expected.error not in result.error:
        yield Miss("expect.error", f"an error with {_quoted(expected.error)}", _quoted(result.error))
    for one in output:
        if one.wrong:
            field = (
                "jsonSchema" if one.field == "outputSchema" and expected.output.json_schema is not None else one.field
            )
            yield Miss(f"expect.output.{field}", one.wanted, one.wrong)
    yield from _tools(expected.tools, outcome.tools if outcome else ())
    count = len(result.scaled.subtasks) if result.scaled else 0
    if expected.parts is not None and count != expected.parts:
        yield Miss("expect.parts", str(expected.parts), str(count))
    if outcome is not None:
        used = {
            "tokens": outcome.usage.total,
            "cost": outcome.cost,
            "steps": outcome.steps,
            "tool_calls": len(outcome.tools),
        }
        yield from _most(expected.most, used)


def _tools(expected: ExpectedTools, called: tuple[str, ...]) -> Iterator[Miss]:
    at = "expect.tools"
    if expected.in_order is not None and list(called) != expected.in_order:
        yield Miss(f"{at}.inOrder", _listed(expected.in_order), _listed(called))
    if expected.any_order is not None and set(called) != set(expected.any_order):
        yield Miss(f"{at}.anyOrder", _listed(sorted(expected.any_order)), _listed(sorted(set(called))))
    for name in expected.never:
        if name in called:
            yield Miss(f"{at}.never", f"no call of {name}", _listed(called))


def _most(expected: Most, used: dict[str, Any]) -> Iterator[Miss]:
    for name, amount in used.items():
        limit = getattr(expected, name)
        if limit is not None and amount > limit:
            field = "toolCalls" if name == "tool_calls" else name
            yield Miss(f"expect.most.{field}", f"at most {limit:g}", f"{amount:g}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _quoted(text: str) -> str:
    return f'"{text}"' if text else "nothing"
