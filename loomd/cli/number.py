"""Numbers on the command line: those of a range, and nothing that is no number."""

import math
from typing import Any

import click


class NumberRange(click.FloatRange):
    """A finite number of a range: `nan` lies in every range, as no comparison with it is true."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number that a word stands for."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"expected a number, got {value!r}.", param, ctx)
        return number
