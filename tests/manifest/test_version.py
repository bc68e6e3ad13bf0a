"""Old versions: a manifest of `v1alpha1` is read as what it would be today, and told of in its own words."""

from pathlib import Path
from typing import Any

import pytest

from loomd.manifest.document import read_documents
from loomd.manifest.kind import find_kinds
from loomd.manifest.load import Loader, load
from loomd.manifest.object import Ref, Snapshot
from loomd.manifest.places import Document
from loomd.manifest.problem import Problem, Problems
from loomd.manifest.source import SourceFile
from loomd.manifest.version import Move, OldVersion, upgrade

PROVIDER = "apiVersion: loomd.dev/v1\nkind: Provider\nmetadata: {name: p}\nspec: {type: openai, model: m}\n---\n"
OLD = "apiVersion: loomd.dev/v1alpha1\nkind: Agent\nmetadata: {name: a}\nspec:\n"
TODAY = "apiVersion: loomd.dev/v1\nkind: Agent\nmetadata: {name: a}\nspec:\n"


def snapshot(text: str) -> Snapshot:
    """Return what a file loads as."""
    return load([SourceFile(Path(), "m.yaml", (PROVIDER + text).encode())])


def problems(text: str) -> list[Problem]:
    """Return all that is told of a file, its warnings too."""
    loader, files = Loader(), [SourceFile(Path(), "m.yaml", (PROVIDER + text).encode())]
    found: list[Problem] = []
    try:
        loader.load(files)
    except Problems as error:
        found += error.problems
    return [*found, *(one for document in loader.documents(files) for one in document.warnings)]


@pytest.mark.parametrize(
    ("old", "today"),
    [
        pytest.param("  provider: p\n", "  provider: p\n", id="nothing-moved"),
        pytest.param("  provider: p\n  systemPrompt: Hi\n", "  provider: p\n  prompt: Hi\n", id="renamed"),
        pytest.param("  provider: p\n  maxSteps: 3\n", "  provider: p\n  limits: {steps: 3}\n", id="nested"),
        pytest.param(
            "  provider: p\n  timeoutSeconds: 90\n", "  provider: p\n  limits: {time: 1m30s}\n", id="converted"
        ),
        pytest.param(
            "  provider: p\n  timeoutSeconds: 0.25\n", "  provider: p\n  limits: {time: 250ms}\n", id="fraction"
        ),
        pytest.param(
            "  {budgetTokens: 5, provider: p, budgetCost: 0.5, maxSteps: 2}\n",
            "  {provider: p, limits: {steps: 2, tokens: 5, cost: 0.5}}\n",
            id="several",
        ),
    ],
)
def test_an_old_manifest_is_the_same_object(old: str, today: str) -> None:
    """It has the digest of what it would be today, so that rewriting it changes nothing that serves."""
    assert snapshot(OLD + old).revision == snapshot(TODAY + today).revision
    found = snapshot(OLD + old).objects[Ref("Agent", "a")]
    assert found.raw.keys() == snapshot(TODAY + today).objects[Ref("Agent", "a")].raw.keys()


def test_the_warning_names_the_new_fields() -> None:
    """A snapshot carries one warning for each old document, at its version."""
    (warning,) = snapshot(OLD + "  {provider: p, maxSteps: 3, timeoutSeconds: 9}\n").warnings
    assert str(warning) == (
        "m.yaml:6:13: Agent/a apiVersion: loomd.dev/v1alpha1 is deprecated, loomd.dev/v1 has spec.limits.steps for "
        "spec.maxSteps, spec.limits.time for spec.timeoutSeconds (loomd convert --write -f m.yaml does it) "
        "[deprecated-version]"
    )
    assert warning.severity == "warning"
    assert (warning.expected, warning.got) == ("loomd.dev/v1", "loomd.dev/v1alpha1")


@pytest.mark.parametrize(
    ("spec", "line", "pointer", "message"),
    [
        ("  provider: p\n  maxSteps: -1\n", "11:13", "/spec/maxSteps", "expected at least 0, got -1"),
        ("  provider: p\n  budgetTokens: x\n", "11:17", "/spec/budgetTokens", 'expected a whole number, got "x"'),
        ("  provider: p\n  systemPrompt: '{{ x }}'\n", "11:21", "/spec/systemPrompt", 'unknown variable "x"'),
        (
            "  provider: p\n  timeoutSeconds: true\n",
            "11:19",
            "/spec/timeoutSeconds",
            "expected a number of seconds from 0",
        ),
        (
            "  provider: p\n  timeoutSeconds: -1\n",
            "11:19",
            "/spec/timeoutSeconds",
            "expected a number of seconds from 0",
        ),
        (
            "  provider: p\n  timeoutSeconds: 1e300\n",
            "11:19",
            "/spec/timeoutSeconds",
            "expected a number of seconds from",
        ),
        (
            "  provider: p\n  timeoutSeconds: ~\n",
            "11:19",
            "/spec/timeoutSeconds",
            "expected a number of seconds from 0",
        ),
        ("  provider: p\n  limits: {}\n", "11:3", "/spec/limits", "unknown field in loomd.dev/v1alpha1"),
        ("  provider: p\n  maxStep: 1\n", "11:3", "/spec/maxStep", "unknown field"),
        ("  provider: q\n", "10:13", "/spec/provider", 'no Provider "q"'),
        ("  maxSteps: 1\n", "9:1", "/spec/provider", "required field is missing"),
    ],
    ids=lambda value: value.rpartition("/")[2] if isinstance(value, str) and value.startswith("/") else "",
)
def test_problems_stand_at_the_old_fields(spec: str, line: str, pointer: str, message: str) -> None:
    """Position, pointer and message speak of the fields that the file has, and the warning comes beside them."""
    found, warning = problems(OLD + spec)
    assert (str(found.position), found.pointer) == (f"m.yaml:{line}", pointer)
    assert found.message.startswith(f"Agent/a {pointer[1:].replace('/', '.')}: {message}")
    assert warning.code == "deprecated-version"


def test_a_misspelled_old_field_is_guessed_among_the_old() -> None:
    """What may have been meant is looked for among the fields of the version that is written."""
    assert problems(OLD + "  {provider: p, budgetToken: 5}\n")[0].hint == 'did you mean "budgetTokens"?'
    assert problems(OLD + "  {provider: p, temprature: 0}\n")[0].hint == 'did you mean "temperature"?'


def test_specs_that_are_none() -> None:
    """An old document whose spec is no mapping, or that holds today's container as something else, is only refused."""
    assert [one.code for one in problems(OLD.replace("spec:\n", "spec: 5\n"))] == ["wrong-type", "deprecated-version"]
    codes = {one.code for one in problems(OLD + "  {provider: p, limits: 5, maxSteps: 3}\n")}
    assert codes == {"unknown-field", "wrong-type", "deprecated-version"}


def test_other_kinds_have_no_old_version() -> None:
    """A version is one of a kind: `v1alpha1` of a kind that never had it does not exist."""
    assert problems(PROVIDER.replace("/v1", "/v1alpha1").replace("p}", "q}", 1))[0].code == "unknown-api-version"


def documents(text: str) -> Document:
    """Return the document of a text."""
    return read_documents(text.encode(), "m.yaml")[0][0]


def test_upgrade_is_pure_and_keeps_every_place() -> None:
    """The document that was read stays as it is; every place of it is found again, by its pointer of today."""
    version = OldVersion("t/v0", (Move("/spec/a", "b"), Move("/spec/c/d", "e/f", lambda value: value * 2)))
    before = documents("apiVersion: t/v0\nspec:\n  a: {x: 1}\n  c: {d: 2, g: 3}\n")
    value: Any = {"apiVersion": "t/v0", "spec": {"a": {"x": 1}, "c": {"d": 2, "g": 3}}}
    after = upgrade(before, version, "t/v1")
    assert before.value == value
    assert after.document.value == {"apiVersion": "t/v1", "spec": {"b": {"x": 1}, "c": {"g": 3, "e": {"f": 4}}}}
    assert after.wrong == ()
    places = after.document.places
    assert len(places) == len(list(places)) == len(before.places)
    assert str(places["/spec/b/x"]) == "m.yaml:3:10"
    assert str(places["/spec/c/e/f"]) == "m.yaml:4:10"
    assert str(after.document.where_key("/spec/c/e/f")) == "m.yaml:4:7"
    assert {str(places[pointer]) for pointer in places} == {str(before.places[pointer]) for pointer in before.places}


@pytest.mark.parametrize("kind", [kind for kind in find_kinds().values() if kind.versions], ids=lambda kind: kind.name)
def test_tables_are_right(kind: Any) -> None:
    """Every field that a table names exists today, and no field of a version is also one of today."""
    for version in kind.versions:
        for move in version.moves:
            spec = kind.spec
            *above, last = move.new.split("/")
            assert move.old.startswith("/spec/")
            assert move.old.count("/") == 2
            for name in above:
                spec = spec.model_fields[name].annotation
            assert last in {info.alias for info in spec.model_fields.values()}
            assert move.old.rpartition("/")[2] not in {info.alias for info in kind.spec.model_fields.values()}
