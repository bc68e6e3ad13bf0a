"""References that stand for an object which nobody declares."""

from pathlib import Path

import pytest

from loomd.manifest.load import load
from loomd.manifest.object import Ref, Snapshot, object_name
from loomd.manifest.problem import Problems
from loomd.manifest.source import SourceFile

MAIN = """apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: main}
spec: {type: openai, model: small, deadline: 5s}
"""


def agent(name: str, provider: str, namespace: str = "default") -> str:
    """Return an agent."""
    metadata = f"{{name: {name}, namespace: {namespace}}}"
    return f"---\napiVersion: loomd.dev/v1\nkind: Agent\nmetadata: {metadata}\nspec: {{provider: {provider}}}\n"


def loaded(*texts: str, pending: bool = False) -> Snapshot:
    """Return the snapshot of one file."""
    return load([SourceFile(Path("/m"), "a.yaml", "".join(texts).encode())], pending=pending)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("main", "main"),
        ("openai/gpt-5.1", "openai-gpt-5-1"),
        ("openrouter/meta-llama/Llama-3.3-70B:free", "openrouter-meta-llama-llama-3-3-70b-free"),
        ("x/" + "a" * 80, "x-" + "a" * 52 + "-"),
    ],
)
def test_names(reference: str, name: str) -> None:
    """A name is one that an object may have, however the model is called."""
    found = object_name(reference)
    assert found.startswith(name)
    assert len(found) <= 63
    assert (found == name) is (len(reference) < 63)


def test_a_service_and_a_model() -> None:
    """The object is there once however often it is meant, in each namespace, and stands where it is written."""
    snapshot = loaded(agent("a", "groq/m.1"), agent("b", "groq/m.1"), agent("c", "groq/m.1", "other"))
    made = [item for item in snapshot.of_kind("Provider") if item.ref.namespace == "default"]
    (item,) = made
    assert item.ref == Ref("Provider", "groq-m-1")
    assert (item.spec.type, item.spec.service, item.spec.model) == ("openai", "groq", "m.1")
    assert str(item.position) == "/m/a.yaml:5:18"
    assert len(snapshot.of_kind("Provider")) == 2
    assert snapshot.objects[Ref("Agent", "a")].refs == (("/spec/provider", item.ref),)
    for head in ("anthropic", "gemini", "local"):
        (found,) = loaded(agent("a", f"{head}/m")).of_kind("Provider")
        assert (found.spec.type, found.spec.model) == (head, "m")


def test_another_model_of_a_declared_provider() -> None:
    """All else is as declared, and follows it; a name wins over a service."""
    snapshot = loaded(MAIN, agent("a", "main/large"))
    made = snapshot.objects[Ref("Provider", "main-large")]
    assert (made.spec.model, made.spec.deadline) == ("large", 5.0)
    assert made.refs == (("/spec/model", Ref("Provider", "main")),)
    later = loaded(MAIN.replace("5s", "6s"), agent("a", "main/large"))
    assert later.objects[made.ref].digest != made.digest
    own = loaded(MAIN.replace("name: main", "name: groq"), agent("a", "groq/large"))
    assert own.objects[Ref("Provider", "groq-large")].spec.service is None


def test_an_object_of_the_name_is_meant() -> None:
    """Whoever declares an object of that name has the last word."""
    snapshot = loaded(MAIN.replace("name: main", "name: openai-gpt-5-1"), agent("a", "openai/gpt-5.1"))
    (item,) = snapshot.of_kind("Provider")
    assert item.spec.model == "small"


def test_behaviour_follows_the_model() -> None:
    """Scores belong to the model that is meant."""
    one, other = (loaded(agent("a", f"groq/{model}")).behaviour(Ref("Agent", "a")) for model in ("x", "y"))
    assert one != other
    same = loaded(agent("a", "groq/x"), agent("b", "groq/y")).behaviour(Ref("Agent", "a"))
    assert same == one


def test_what_may_still_come() -> None:
    """A head that nobody knows may be declared by another source, and then it is told like any other reference."""
    pending = loaded(agent("a", "later/m"), pending=True)
    assert Ref("Agent", "a") in pending.pending
    with pytest.raises(Problems, match='no Provider "later/m"'):
        loaded(agent("a", "later/m"))


def test_a_provider_that_is_not_valid() -> None:
    """Its own problem is told, and not that of whoever means it."""
    with pytest.raises(Problems) as caught:
        loaded(MAIN.replace("5s", "soon"), agent("a", "main/large"))
    assert [problem.pointer for problem in caught.value.problems] == ["/spec/deadline"]
