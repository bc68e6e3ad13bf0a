"""What is taken and written without Pydantic is what Pydantic takes and writes."""

from collections.abc import Callable
from datetime import date
from functools import lru_cache, wraps
from types import GenericAlias
from typing import Any, Literal, Optional, Union

import pydantic_core
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from loomd.tools.context import ToolContext
from loomd.tools.plain import plain_arguments, plain_json, plain_parameters
from loomd.tools.signature import read_signature

SCALARS = [str, int, float, bool, None, Any, object, Literal["a", 1], Literal[True]]
HINTS = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.one_of(
        inner.map(lambda hint: GenericAlias(list, hint)),
        inner.map(lambda hint: GenericAlias(dict, (str, hint))),
        inner.map(lambda hint: Optional[hint]),  # noqa: UP045  # as people write it
        st.tuples(inner, inner).map(lambda pair: Union[pair]),  # noqa: UP007  # as people write it
        st.tuples(inner, inner).map(lambda pair: GenericAlias(dict, pair)),
        st.sampled_from([list, dict, int | str, float | None, int | float | None, bytes, set[int]]),
    ),
    max_leaves=3,
)
TEXTS = st.text(st.characters(exclude_categories=[]), max_size=4) | st.sampled_from(["a", "1", "true", "\ud800"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([0, 1, 1 << 60]) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


DEFAULTS = (
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.just([1, "a"]) | st.just(...) | st.just({1})
)


def nothing() -> object:
    """Return the context of a call that has none."""
    return None


def function_of(hint: object) -> Callable[..., object]:
    """Return a function with a parameter of this type."""

    def it(a: Any, b: Any = 2) -> object:
        return a, b

    it.__annotations__ = {"a": hint}
    return it


@settings(max_examples=150, deadline=None)
@given(HINTS, VALUES)
def test_arguments_are_those_of_pydantic(hint: object, value: object) -> None:
    """What is taken as it is, Pydantic takes alike: the same value of the same type."""
    found = plain_arguments(function_of(hint), {"a": value}, nothing)
    if found is not None:
        assert repr(read_signature(function_of(hint)).bind({"a": value})) == repr(found)


@settings(max_examples=150, deadline=None)
@given(HINTS, HINTS, DEFAULTS)
def test_descriptions_are_those_of_pydantic(hint: object, gives: object, default: object) -> None:
    """What is described here, Pydantic describes alike, to the order of the keys, which a prompt has."""

    def it(a: Any, b: Any = default, *, c: Any, d: Any = 1) -> object:
        return a, b, c, d

    it.__annotations__ = {"a": hint, "b": hint, "d": hint, "return": gives}
    texts = {"a": "One.", "d": "Two."}
    it.__doc__ = "\n".join(["Text.", "", "Args:", *(f"    {name}: {text}" for name, text in texts.items())])
    found = plain_parameters(it, texts)
    if found is not None:
        assert repr(read_signature(it).parameters) == repr(found)


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_results_are_those_of_pydantic(value: object) -> None:
    """What is written as it is, Pydantic writes alike."""
    found = plain_json(value)
    if found is not None:
        assert pydantic_core.to_json(value, inf_nan_mode="constants").decode() == found


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (str, "é"),
        (int, 1 << 70),
        (float, 0.5),
        (float, 3),
        (bool, True),
        (None, None),
        (Any, {"a": ["\ud800"]}),
        (list, [1, "a"]),
        (list[str], ["a"]),
        (dict[str, list[int]], {"a": [1]}),
        (int | None, None),
        (Optional[list[float]], [1, 0.5]),  # noqa: UP045  # as people write it
        (int | str, "1"),
        (Literal["a", "b"], "b"),
        ("dict[str, int]", {"a": 1}),
    ],
)
def test_plain_arguments_need_no_pydantic(hint: object, value: object) -> None:
    """What a model writes for the usual annotations is taken as it is."""
    found = plain_arguments(function_of(hint), {"a": value}, nothing)
    assert found == {"a": value}
    assert repr(found) == repr(read_signature(function_of(hint)).bind({"a": value}))


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (str, "\ud800"),
        (int, 1.0),
        (int, True),
        (bool, 1),
        (float, 1 << 60),
        (list[int], ["1"]),
        (int | str, 0.5),
        (Literal[1], True),
        (set[int], [1]),
        (list, {}),
        (dict[int, int], {"1": 1}),
        (bytes, "a"),
        ("Nowhere", 1),
    ],
)
def test_what_is_left_to_pydantic(hint: object, value: object) -> None:
    """What would be converted or refused is not taken as it is."""
    assert plain_arguments(function_of(hint), {"a": value}, nothing) is None


def test_parameters() -> None:
    """Defaults are the function's own; what is missing, unknown or taken otherwise than by name is left to Pydantic."""

    def it(context: ToolContext, a: int, b: int = 2, *, c: int, d: int = 4) -> None:
        """Take parameters of all sorts."""

    def positional(a: int, /) -> None:
        """Take one that has no name."""

    def starred(*a: int, **b: int) -> None:
        """Take any."""

    @wraps(it)
    def wrapped(a: int, c: int) -> int:
        return a + c

    assert plain_arguments(it, {"a": 1, "c": 3}, lambda: "told") == {"context": "told", "a": 1, "c": 3}
    assert plain_arguments(it, {"a": 1, "b": 5, "c": 3, "d": 6}, nothing) == {
        "context": None,
        "a": 1,
        "b": 5,
        "c": 3,
        "d": 6,
    }
    for arguments in ({"a": 1}, {"c": 3}, {"a": 1, "c": 3, "e": 5}, {"a": 1, "c": 3, "context": 1}):
        assert plain_arguments(it, arguments, nothing) is None
    assert plain_arguments(positional, {"a": 1}, nothing) is None
    assert plain_arguments(starred, {}, nothing) is None
    assert plain_arguments(lru_cache(it), {"a": 1, "c": 3}, nothing) is None
    assert plain_arguments(wrapped, {"a": 1, "c": 3}, nothing) is None


@pytest.mark.parametrize("value", [{"a": [1, 0.5, -2.0, 1e15, True, None, 'é\x00\x7f\n"']}, [], 0.0, "a", 12345])
def test_plain_results_need_no_pydantic(value: object) -> None:
    """What functions give as a rule is written as it is."""
    assert plain_json(value) == pydantic_core.to_json(value).decode()


def test_results_that_are_left_to_pydantic() -> None:
    """What is written in more than one way, or is no JSON, is not written as it is."""
    circle: list[object] = []
    circle.append(circle)
    for value in (1e16, 1e-5, float("nan"), 1 << 63, "\ud800", {1: 2}, (1,), b"a", circle, date(2026, 1, 1)):
        assert plain_json(value) is None


USUAL: list[Any] = [
    *(str, int, float, bool, None, Any, object, list, dict, list[str], dict[str, int | None], list[dict[str, Any]]),
    *(Optional[bool], Union[int, str], Literal["a"], Literal["a", "b"], "list[int]"),  # noqa: UP007, UP045  # as people write it
]


@pytest.mark.parametrize("hint", USUAL)
def test_plain_parameters_need_no_pydantic(hint: object) -> None:
    """The usual annotations are described."""
    found = plain_parameters(function_of(hint), {})
    assert found is not None
    assert repr(found) == repr(read_signature(function_of(hint)).parameters)


@pytest.mark.parametrize("hint", [date, bytes, set[int], dict[int, int], Literal[1], list["Nowhere"], "Nowhere"])  # type: ignore[name-defined]  # noqa: F821
def test_what_is_described_by_pydantic(hint: object) -> None:
    """What has a schema of another sort, or none, is not described here; neither is what returns the unknown."""
    assert plain_parameters(function_of(hint), {}) is None
    function = function_of(int)
    assert plain_parameters(function, {}) is not None
    function.__annotations__["return"] = "Nowhere"
    assert plain_parameters(function, {}) is None


@pytest.mark.filterwarnings("ignore:Field name:UserWarning")
def test_names_are_those_of_pydantic() -> None:
    """A name to which Pydantic gives a meaning of its own is left to it."""
    for name in [*dir(BaseModel), "_a", "model_a", "fields", "self"]:
        space: dict[str, Callable[..., object]] = {}
        exec(f"def it({name}: int): ...", space)  # noqa: S102  # our own words
        found = plain_parameters(space["it"], {})
        if found is None:
            assert name.startswith("_") or name == "model_config"
        else:
            assert repr(read_signature(space["it"]).parameters) == repr(found)


def test_plain_parameters() -> None:
    """A context is told to nobody; what is taken otherwise than by name is left to Pydantic."""

    def it(context: ToolContext, a: int, b: int = 2, *, c: int, d: float = 0.5) -> date:
        """Take parameters of all sorts."""
        return date(a, b, int(c + d) + len(context.task))

    def positional(a: int, /) -> None:
        """Take one that has no name."""

    def starred(*a: int, **b: int) -> None:
        """Take any."""

    found = plain_parameters(it, {"a": "One."})
    assert found is not None
    assert found["required"] == ["a", "c"]
    assert found["properties"] == {
        "a": {"description": "One.", "type": "integer"},
        "b": {"default": 2, "type": "integer"},
        "c": {"type": "integer"},
        "d": {"default": 0.5, "type": "number"},
    }
    assert plain_parameters(nothing, {}) == read_signature(nothing).parameters
    for other in (positional, starred, lru_cache(it)):
        assert plain_parameters(other, {}) is None
