"""On what terms a declared task runs: what it may use, and what its answer must satisfy. Schedules say it alike."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from loomd.amoeba.task import Budget, Expect
from loomd.manifest.inline_schema import schema_faults
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Duration, Tokens, Usd


class TaskBudget(Spec):
    """What one run and everything that it is split into may use; what is unset is the cluster's own limit."""

    tokens: Tokens | None = Field(default=None, examples=[50_000])
    """Input and output tokens of all model calls."""
    cost: Usd | None = Field(default=None, examples=[0.5])
    """US dollars of all model calls."""
    time: Duration | None = Field(default=None, gt=0, examples=["10m"])
    """Wall-clock time from the moment the run starts."""

    @property
    def limits(self) -> Budget:
        """Return the budget of a task."""
        return Budget(self.tokens, self.cost, self.time)


class TaskExpect(Spec):
    """What the answer must satisfy; it counts in the evaluation."""

    contains: list[str] = Field(default_factory=list, examples=[["Summary"]])
    """Texts that the answer must contain."""
    cites: bool = False
    """Whether the answer must cite a source."""
    output_schema: dict[str, Any] | None = Field(default=None, examples=[{"type": "object", "required": ["title"]}])
    """JSON Schema that the whole answer must satisfy as JSON."""

    def check(self, root: Path) -> Iterator[tuple[str, str, str]]:
        """Yield what is wrong with the schema of the answer."""
        del root
        if self.output_schema is not None:
            yield from schema_faults(self.output_schema, "/outputSchema")

    @property
    def expected(self) -> Expect:
        """Return what the answer of a task must satisfy."""
        return Expect(tuple(self.contains), self.cites, self.output_schema)
