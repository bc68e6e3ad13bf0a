"""Readers of one mind: both schema validators, both published schemas and the types accept the same manifests."""

import re
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loomd.manifest.convert import _typed, accepts
from loomd.manifest.kind import API_VERSION, Kind, find_kinds
from loomd.manifest.schema import combined_schema, schema_of
from tests.manifest.corpus import BAD, GOOD, by_name, documents_of
from tests.manifest.mutation import ODD, bounds_of, documents, mutations, paths, replaced

ENVELOPE = {"apiVersion", "kind", "metadata", "spec"}
KINDS = list(find_kinds().values())
BEYOND_SCHEMA = re.compile(
    r"expected a whole number, got -?[0-9.e+]+$"  # a JSON Schema takes 10.0 for an integer, a strict type does not
    r"|expected weights that sum to 1, "  # a JSON Schema cannot add
    r"|expected a regular expression of RE2, "  # nor compile
    r"|expected an overlap of at most half of size "  # nor compare two fields
)
"""What only the types refuse, by their words. What only the schema refuses: nothing."""


def names(kind: Kind) -> str:
    """Return the id of a kind."""
    return kind.name


@cache
def combined() -> tuple[Any, Any]:
    """Return both validators of the schema of all kinds."""
    return jsonschema_rs.Draft202012Validator(combined_schema()), jsonschema.Draft202012Validator(combined_schema())


@cache
def explaining(kind: Kind) -> Any:
    """Return the validator that explains, for the schema of a kind."""
    return jsonschema.Draft202012Validator(schema_of(kind))


def schemas_say(kind: Kind, value: Any, *, slow: bool) -> bool:
    """Return whether the schemas accept a document, about which all their readers agree.

    Args:
        kind: the kind that the document says.
        value: the document.
        slow: ask the validators that explain as well.
    """
    said = {accepts(kind, value), combined()[0].is_valid(value)}
    if slow:
        said |= {explaining(kind).is_valid(value), combined()[1].is_valid(value)}
    assert len(said) == 1, value
    return bool(said.pop())


def check(kind: Kind, value: Any, *, slow: bool) -> bool:
    """Compare what schemas and types say of a document, and return whether they accept it."""
    schemas = schemas_say(kind, value, slow=slow)
    refusals = _typed(kind, value)[2]
    serious = [one.message for one in refusals if not BEYOND_SCHEMA.match(one.message)]
    if schemas:
        assert serious == [], value
    else:
        assert refusals, value
    return schemas


def whole(path: Path) -> list[tuple[Kind, Any]]:
    """Return the documents of a case that say a kind and have nothing but an envelope."""
    values = [document.value for document in documents_of(path)]
    known = [value for value in values if isinstance(value, dict) and set(value) == ENVELOPE]
    return [
        (find_kinds()[value["kind"]], {**value, "apiVersion": API_VERSION})
        for value in known
        if isinstance(value["kind"], str) and value["kind"] in find_kinds() and value["apiVersion"] == API_VERSION
    ]


@pytest.mark.parametrize("path", [*GOOD, *BAD], ids=by_name)
def test_readers_agree_on_the_corpus(path: Path) -> None:
    """All readers accept the same documents of the corpus, and refuse the same."""
    for kind, value in whole(path):
        check(kind, value, slow=True)


@pytest.mark.parametrize("kind", KINDS, ids=names)
def test_readers_agree_on_every_mutation(kind: Kind) -> None:
    """They agree on every field of every type, dropped and replaced by everything that is odd or at a limit."""
    schema = schema_of(kind)
    bounds, seen, valid = bounds_of(schema), set[str](), 0
    for document in documents(kind, schema):
        check(kind, document, slow=True)
        for value in mutations(document, bounds):
            if repr(value) not in seen:
                seen.add(repr(value))
                valid += check(kind, value, slow=False)
    assert len(seen) > 100
    assert 0 < valid < len(seen)


SEEDS = [pair for path in GOOD for pair in whole(path)]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e300, 1e300) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def drawn(draw: st.DrawFn) -> tuple[Kind, Any]:
    """Draw a good manifest of the corpus with up to three values dropped, replaced, moved or added."""
    kind, value = draw(st.sampled_from(SEEDS))
    value = deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        places = list(paths({name: value[name] for name in ("metadata", "spec") if name in value}, ()))[1:]
        if not places:
            break
        path = draw(st.sampled_from(places))
        act = draw(st.sampled_from(["drop", "replace", "odd", "move", "add"]))
        if act == "drop":
            value = replaced(value, path, drop=True)
        elif act == "add":
            value = replaced(value, (*path, draw(st.text(min_size=1, max_size=8))), draw(JSON), where=dict)
        else:
            other = draw(st.sampled_from(places))
            found = {"replace": JSON, "odd": st.sampled_from(ODD), "move": st.just(at(value, other))}[act]
            value = replaced(value, path, deepcopy(draw(found)))
    return kind, value


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    """Return the value at a path."""
    for part in path:
        value = value[part]
    return value


@settings(max_examples=400, deadline=None)
@given(drawn())
def test_readers_agree_on_what_is_drawn(case: tuple[Kind, Any]) -> None:
    """They agree on good manifests in which anything was changed."""
    kind, value = case
    check(kind, value, slow=True)
