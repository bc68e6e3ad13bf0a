from typing import Any

import pytest

from loomd.errors import ToolFailed
from loomd.tools.calculator import compute


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("(2.5 + 4) * 3 ** 2", "58.5"),
        ("2^10", "1024"),
        ("7 // 2 + 10 % 3 - -1", "5"),
        ("-8 ** 0.5", "-2.8284271247461903"),
        ("round(sqrt(2), 3)", "1.414"),
        ("max(1, 2) * min(3, 4) + abs(-1)", "7"),
        ("floor(e) + ceil(pi)", "6"),
        ("1_000 + 0x10", "1016"),
        ("(-1) ** (10 ** 300)", "1"),
        ("(-1) ** (10 ** 300 + 1)", "-1"),
        ("0 ** (9 ** 500)", "0"),
        ("2 ** -2000", "0.0"),
        ("10 ** 999 % 7", str(10**999 % 7)),
        ("(" * 90 + "1" + ")" * 90, "1"),
    ],
)
def test_arithmetic(text: str, result: str) -> None:
    """Expressions come to what they come to."""
    assert compute(text, 1000) == result


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("9 ** 9 ** 9", "more than 1000 digits"),
        ("9 ** 9 ** 9 ** 9", "more than 1000 digits"),
        ("10 ** 999 * 10 ** 999", "more than 1000 digits"),
        ("2.0 ** 10000", "too large"),
        ("1e308 * 10", "no real number"),
        ("(-8) ** 0.5", "no real number"),
        ("1 / 0", "division by zero"),
        ("0 ** -1", "division by zero"),
        ("log(0)", "domain error"),
        ("round(1.5, 10 ** 9)", "at most 1000 digits"),
        ("min()", "expected at least 1 argument"),
        ("1" * 4500, "Exceeds the limit"),
        ("__import__('os').system('id')", "is no arithmetic"),
        ("().__class__", "is no arithmetic"),
        ("[1 for _ in range(9)]", "is no arithmetic"),
        ("(lambda: 1)()", "is no arithmetic"),
        ("'a' * 9", "is no arithmetic"),
        ("True + 1", "is no arithmetic"),
        ("1j", "is no arithmetic"),
        ("x + 1", '"x" is no arithmetic'),
        ("exec(1)", "is no arithmetic"),
        ("round(number=1)", "is no arithmetic"),
        ("1 << 10 ** 9", "is no arithmetic"),
        ("-" * 5000 + "1", "too deeply nested"),
        ("2 +", "invalid syntax"),
        ("", "invalid syntax"),
        ("\ud800", "cannot be computed"),
        ("1\0", "cannot be computed"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    """Code, names and numbers without bounds are refused with a text for the model, at once."""
    with pytest.raises(ToolFailed, match="cannot be computed") as caught:
        compute(text, 1000)
    assert said in str(caught.value)


async def test_the_tool(tool: Any) -> None:
    """The tool takes one expression of bounded length."""
    async with tool({"type": "calculator", "digits": 20, "length": 40}) as live:
        assert live.effects == "read"
        assert live.schema.parameters["properties"]["expression"]["maxLength"] == 40
        assert await live.call({"expression": "2 + 2"}) == "4"
        with pytest.raises(ToolFailed, match="more than 20 digits"):
            await live.call({"expression": "10 ** 21"})
        for odd in ({"expression": "1" * 41}, {"expression": 4}, {}):
            with pytest.raises(ToolFailed, match='expected the argument "expression", a text of at most 40 '):
                await live.call(odd)
        with pytest.raises(ToolFailed, match='expected the argument "expression" alone, got also digits'):
            await live.call({"expression": "1", "digits": 5})
