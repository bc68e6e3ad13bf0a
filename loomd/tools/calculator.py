"""Calculator: arithmetic as people write it. Small models cannot do sums; this can, and does nothing else.

The text is read as a syntax tree and walked: numbers, operators and a few functions, no names, no attributes, no
evaluation of code. Numbers are bounded before they are made, so that no expression takes long.
"""

import ast
import math
import operator
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

from pydantic import Field

from loomd.errors import ToolFailed
from loomd.messages import JsonObject, ToolSchema
from loomd.tools.base import Effects, LiveTool, ToolSpec
from loomd.tools.context import ToolContext
from loomd.topology import Parts

Number = int | float

_BITS = math.log2(10)
"""Bits of a decimal digit."""
_CONSTANTS: Mapping[str, Number] = {"pi": math.pi, "e": math.e, "tau": math.tau}
_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "round": round,
    "min": min,
    "max": max,
    "floor": math.floor,
    "ceil": math.ceil,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "log2": math.log2,
    "log10": math.log10,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
    "radians": math.radians,
    "degrees": math.degrees,
}
_SUMMARY = (
    "Computes an arithmetic expression exactly, for example (2.5 + 4) * 3 ** 2 or round(sqrt(2), 3). It knows "
    f"+ - * / // % ** and parentheses, {', '.join(_CONSTANTS)}, and {', '.join(_FUNCTIONS)}."
)


class CalculatorTool(ToolSpec):
    """Computes arithmetic expressions."""

    type: Literal["calculator"] = "calculator"
    effects: Effects = "read"
    """What a call does to the world: nothing."""
    digits: int = Field(default=1000, ge=15, le=4000)
    """Most digits of a whole number, also on the way to the result."""
    length: int = Field(default=1000, ge=1, le=10_000)
    """Most characters of an expression."""

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[LiveTool, None]:
        """Yield the live tool."""
        expression = {"type": "string", "maxLength": self.length, "description": "What to compute."}
        parameters: JsonObject = {
            "type": "object",
            "properties": {"expression": expression},
            "required": ["expression"],
            "additionalProperties": False,
        }
        yield LiveTool(ToolSchema(parts.name, self.description or _SUMMARY, parameters), self, self._run, parts)

    async def _run(self, arguments: JsonObject, context: ToolContext | None) -> str:
        del context
        text = arguments.get("expression")
        if others := [name for name in arguments if name != "expression"]:
            raise ToolFailed(f'expected the argument "expression" alone, got also {", ".join(others):.400}')
        if not isinstance(text, str) or len(text) > self.length:
            raise ToolFailed(f'expected the argument "expression", a text of at most {self.length} characters')
        return compute(text, self.digits)


def compute(text: str, digits: int) -> str:
    """Return what an expression comes to, as text.

    Args:
        text: the expression.
        digits: most digits of a whole number.

    Raises:
        ToolFailed: it is no arithmetic, has no result, or is too large.
    """
    try:
        tree = ast.parse(text.strip().replace("^", "**"), mode="eval")
        return str(_Walk(digits).value(tree.body))
    except (SyntaxError, ValueError) as error:
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ToolFailed(f"cannot be computed: {said}") from None
    except ZeroDivisionError:
        raise ToolFailed("cannot be computed: division by zero") from None
    except OverflowError:
        raise ToolFailed("cannot be computed: a number is too large") from None
    except TypeError as error:
        raise ToolFailed(f"cannot be computed: {error}") from None
    except (RecursionError, MemoryError):
        raise ToolFailed("cannot be computed: it is too deeply nested") from None


class _Walk:
    """One walk over a syntax tree."""

    def __init__(self, digits: int) -> None:
        self._digits = digits
        self._bits = digits * _BITS

    def value(self, node: ast.expr) -> Number:
        """Return what a part comes to, and refuse what is not a bounded real number."""
        found = self._raw(node)
        if isinstance(found, int):
            if found.bit_length() > self._bits:
                raise ValueError(f"a number has more than {self._digits} digits")
            return found
        if isinstance(found, float) and math.isfinite(found):
            return found
        raise ValueError("the result is no real number")

    def _raw(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=bool() | complex()):
                pass
            case ast.Constant(value=int() | float() as value):
                return value
            case ast.Name(id=name) if name in _CONSTANTS:
                return _CONSTANTS[name]
            case ast.UnaryOp(op=ast.UAdd() | ast.USub() as sign, operand=inner):
                return -self.value(inner) if isinstance(sign, ast.USub) else self.value(inner)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return self._power(self.value(left), self.value(right))
            case ast.BinOp(left=left, op=sort, right=right) if type(sort) in _BINARY:
                return _BINARY[type(sort)](self.value(left), self.value(right))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
                return self._called(name, [self.value(one) for one in args])
            case _:
                pass
        raise ValueError(f'"{ast.unparse(node)[:60]}" is no arithmetic')

    def _power(self, base: Number, exponent: Number) -> Any:
        """Return a power whose size is known to be bounded before it is made."""
        if isinstance(base, int) and isinstance(exponent, int) and exponent > 0:
            if base in (-1, 0, 1):
                return base if exponent % 2 else base * base
            if base.bit_length() * exponent > self._bits + exponent:
                raise ValueError(f"a number has more than {self._digits} digits")
        return base**exponent

    def _called(self, name: str, values: list[Number]) -> Any:
        if name == "round" and len(values) > 1 and abs(values[1]) > self._digits:
            raise ValueError(f"expected at most {self._digits} digits to round to")
        return _FUNCTIONS[name](*values)
