"""Fallback: several providers in order; when one does not answer, the next one is asked.

Which of them answered stands in the reply, like that of every provider. One that failed is passed over for a while, so
that not every call waits for it anew. Each keeps its own attempts, breaker and rate; nothing is sent here.
"""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from loomd.errors import LoomdError, Permanent, Temporary, Unreachable
from loomd.manifest.kind import RefTo
from loomd.manifest.quantity import Duration
from loomd.messages import Chunk, Request, Retried, Usage
from loomd.providers.base import Model, ProviderSpec, refuse_withdrawn
from loomd.providers.reach import Reach
from loomd.topology import Parts


class Fallback(ProviderSpec):
    """Several providers in order: the next one is asked when one does not answer."""

    type: Literal["fallback"] = "fallback"
    providers: list[Annotated[str, RefTo("Provider")]] = Field(min_length=2, examples=[["main", "spare"]])
    """Names of the providers, the preferred one first."""
    cooldown: Duration = Field(default=60.0, ge=0)
    """How long one that failed is passed over; longer when the service asks for that."""

    def check(self, root: Path) -> Iterator[tuple[str, str, str]]:
        """Yield a provider that is named twice."""
        del root
        for number, name in enumerate(self.providers):
            if name in self.providers[:number]:
                yield f"/providers/{number}", f'expected each provider once, got "{name}" again', "invalid-value"

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["FallbackModel", None]:
        """Yield the live model."""
        models = [parts.get("Provider", name, Model) for name in self.providers]
        reach = Reach(parts.services.clock, partial(refuse_withdrawn, parts))
        yield FallbackModel(parts, models, self.cooldown, reach)


class FallbackModel:
    """A model that asks others in order."""

    def __init__(self, parts: Parts, models: Sequence[Model], cooldown: float, reach: Reach) -> None:
        self.name = f"{parts.name}/fallback"
        self._owner = str(parts.declared.ref)
        self._models = models
        self._cooldown = cooldown
        self._reach = reach
        self.health = reach.health
        windows = [window for model in models if (window := getattr(model, "window", None)) is not None]
        self.window: int | None = min(windows, default=None)
        self._clock = parts.services.clock
        self._rests = [0.0] * len(models)

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Answer with the first model that does; `Retried` before each further one.

        Raises:
            Unreachable: none of them did, and one may later.
            Permanent: none of them did, and none will.
        """
        with self._reach:
            failures: list[LoomdError] = []
            order = self._order()
            for at, after in zip(order, [*order[1:], None], strict=True):
                model = self._models[at]
                try:
                    async with aclosing(model.stream(request)) as chunks:
                        async for chunk in chunks:
                            yield chunk
                except LoomdError as error:
                    self._rest(at, error)
                    failures.append(error)
                    if after is None:
                        raise self._none(failures) from error
                else:
                    self._rests[at] = 0.0
                    return
                yield Retried(model.name, str(failures[-1]), after=self._models[after].name)

    def added(self, request: Request) -> int:
        """Return the characters that a model adds to a request at most, whoever answers."""
        all_ = [added(request) for model in self._models if (added := getattr(model, "added", None)) is not None]
        return max(all_, default=0)

    @property
    def down(self) -> str:
        """Return why none of the models is asked for now; empty when one is."""
        reasons = [str(getattr(model, "down", "")) for model in self._models]
        return "; ".join(reasons) if all(reasons) else ""

    def cost(self, usage: Usage) -> float:
        """Return what a call costs in USD at most, whoever answers."""
        costs = [cost(usage) for model in self._models if (cost := getattr(model, "cost", None)) is not None]
        return max(costs, default=0.0)

    def _order(self) -> list[int]:
        """Return who is asked in which order: those who rest come last, who may be back first before the others."""
        now = self._clock.monotonic()
        return sorted(range(len(self._models)), key=lambda at: max(0.0, self._rests[at] - now))

    def _rest(self, at: int, error: LoomdError) -> None:
        """Pass one over for a while, unless what it refused is this request."""
        if type(error) is Permanent:
            return
        asked = (isinstance(error, Temporary) and error.retry_after) or 0.0
        self._rests[at] = self._clock.monotonic() + max(self._cooldown, asked)

    def _none(self, failures: Sequence[LoomdError]) -> LoomdError:
        """Return the error for a request that nobody answered."""
        said = "; ".join(str(error) for error in failures)
        text = f"{self._owner}: none of its {len(failures)} providers answered: {said}"
        later = [error.retry_after for error in failures if isinstance(error, Temporary)]
        if not later:
            return Permanent(text)
        known = [seconds for seconds in later if seconds is not None]
        return Unreachable(text, min(known, default=None))
