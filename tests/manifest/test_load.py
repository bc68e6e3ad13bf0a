"""Whole sets of files: order, references, circles, checks of files, and the memory of the loader."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from loomd.manifest.kind import Kind, RefTo, Spec
from loomd.manifest.load import Loader, load
from loomd.manifest.object import Ref
from loomd.manifest.problem import Position, Problems
from loomd.manifest.selector import Selector, SelectorOf
from loomd.manifest.source import SourceFile


class Part(Spec):
    """A part of a box."""

    file: str = ""

    def check(self, root: Path) -> Iterator[tuple[str, str]]:
        """Yield a complaint when the file is absent."""
        if self.file and not (root / self.file).exists():
            yield "/file", f"there is no {self.file}"


class BoxSpec(Spec):
    """A box that may stand on others."""

    on: list[Annotated[str, RefTo("Box")]] = Field(default_factory=list)
    weights: dict[Annotated[str, RefTo("Box")], float] = Field(default_factory=dict)
    next: Annotated[str, RefTo("Box")] | None = None
    maybe: Annotated[str, RefTo("Box")] = ""
    parts: list[Part] = Field(default_factory=list)
    beside: Annotated[Selector, SelectorOf("Box")] | None = None


KINDS = {"Box": Kind("Box", "boxes", lambda: BoxSpec, "A box.")}


def box(name: str, spec: str = "{}", namespace: str = "default", labels: str = "{}") -> str:
    """Return a document."""
    metadata = f"{{name: {name}, namespace: {namespace}, labels: {labels}}}"
    head = f"apiVersion: loomd.dev/v1\nkind: Box\nmetadata: {metadata}\n"
    return f"---\n{head}spec: {spec}\n"


def file(text: str, path: str = "f.yaml", root: Path = Path()) -> SourceFile:
    """Return a manifest file."""
    return SourceFile(root, path, text.encode())


def problems(*files: SourceFile) -> list[str]:
    """Return what is wrong, as `line:column code message`."""
    with pytest.raises(Problems) as caught:
        load(files, KINDS)
    return [f"{p.position.line}:{p.position.column} {p.code} {p.message}" for p in caught.value.problems]


def test_objects_follow_what_they_refer_to() -> None:
    """The order is that of the references, and by name where there is none."""
    text = box("a", "{on: [c]}") + box("b") + box("c", "{next: d, weights: {b: 1}}") + box("d")
    snapshot = load([file(text)], KINDS)
    assert [ref.name for ref in snapshot.objects] == ["b", "d", "c", "a"]
    assert [ref.name for ref in load([file(box("z") + box("y"))], KINDS).objects] == ["y", "z"]


def test_object_knows_its_places_and_references() -> None:
    """References are kept with their pointers, and pointers lead to lines."""
    item = list(load([file(box("a", "{on: [b]}") + box("b"))], KINDS).objects.values())[1]
    assert item.refs == (("/spec/on/0", Ref("Box", "b")),)
    assert item.where("/spec/on/0") == Position("f.yaml", 5, 13)


def test_circles_are_shown_as_a_chain() -> None:
    """Every circle is one problem that names all its members; what leans on it is no part of it."""
    text = box("a", "{on: [b]}") + box("b", "{on: [c]}") + box("c", "{on: [a]}") + box("d", "{on: [a, d]}")
    assert problems(file(text)) == [
        "5:13 reference-cycle Box/a spec.on[0]: the reference leads back to itself: Box/a -> Box/b -> Box/c -> Box/a",
        "20:16 self-reference Box/d spec.on[1]: Box/d refers to itself",
    ]


def test_a_circle_may_go_through_files_and_selectors() -> None:
    """A chain is told at its first reference, wherever the others stand; what is selected counts as named."""
    one, two = file(box("a", "{next: b}"), "one.yaml"), file(box("b", "{beside: {}}", labels="{x: y}"), "two.yaml")
    with pytest.raises(Problems) as caught:
        load([two, one], KINDS)
    (told,) = caught.value.problems
    assert told.code == "reference-cycle"
    assert (told.position, told.related) == (Position("one.yaml", 5, 14), Position("two.yaml", 5, 16))
    assert told.message.endswith("Box/a -> Box/b -> Box/a")


def test_circles_that_share_an_object_and_long_chains() -> None:
    """Each circle is told once, the shortest first; a chain of thousands is followed to its end."""
    several = box("a", "{on: [b, c]}") + box("b", "{on: [a]}") + box("c", "{on: [d]}") + box("d", "{on: [a]}")
    assert [text.rpartition(": ")[2] for text in problems(file(several))] == [
        "Box/a -> Box/b -> Box/a",
        "Box/c -> Box/d -> Box/a -> Box/c",
    ]
    size = 900
    chain = [box(f"b{at}", f"{{next: b{(at + 1) % (3 * size)}}}") for at in range(3 * size)]
    files = [file("".join(chain[at : at + size]), f"{at}.yaml") for at in range(0, 3 * size, size)]
    (told,) = problems(*files)
    assert told.count("Box/b") == 3 * size + 2


def test_what_is_not_valid_is_selected_nevertheless() -> None:
    """A selector is not told as empty when what it selects is there, and only not valid; else it is."""
    asks = box("a", "{beside: {matchLabels: {x: y}}}")
    bad = box("b", "{bogus: 1}", labels="{x: y}")
    assert [text.split()[1] for text in problems(file(asks + bad))] == ["unknown-field"]
    unread = box("b", "{}", labels="{x: 5}")
    assert [text.split()[1] for text in problems(file(asks + unread))] == ["wrong-type"]
    other = box("b", "{bogus: 1}", labels="{x: z}") + box("c", "{bogus: 1}", "elsewhere", "{x: y}")
    assert [text.split()[1] for text in problems(file(asks + other))] == ["empty-selection", *["unknown-field"] * 2]


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        pytest.param("{}", "bcd", id="empty"),
        pytest.param("{matchLabels: {x: y}}", "b", id="equal"),
        pytest.param("{matchLabels: {x: y, z: w}}", "", id="both"),
        pytest.param("{matchExpressions: [{key: x, operator: In, values: [y, w]}]}", "bc", id="in"),
        pytest.param("{matchExpressions: [{key: x, operator: NotIn, values: [y]}]}", "cd", id="not-in"),
        pytest.param("{matchExpressions: [{key: x, operator: Exists}]}", "bc", id="exists"),
        pytest.param("{matchExpressions: [{key: x, operator: DoesNotExist}]}", "d", id="does-not-exist"),
        pytest.param("{matchLabels: {x: w}, matchExpressions: [{key: x, operator: Exists}]}", "c", id="mixed"),
    ],
)
def test_what_a_selector_selects(selector: str, selected: str) -> None:
    """Labels of the same namespace, never the object itself; all conditions hold; nothing is a problem."""
    text = box("a", f"{{beside: {selector}}}", labels="{x: y, z: w}") + box("b", labels="{x: y}")
    text += box("c", labels="{x: w}") + box("d") + box("e", "{}", "elsewhere", "{x: y}")
    if not selected:
        (told,) = problems(file(text))
        assert "empty-selection" in told
        return
    item = load([file(text)], KINDS).objects[Ref("Box", "a")]
    assert "".join(to.name for _, to in item.refs) == selected
    assert {pointer for pointer, _ in item.refs} == {"/spec/beside"}


def test_references_stay_in_their_namespace() -> None:
    """The same name in another namespace is another object."""
    text = box("a", "{next: b}", "one") + box("b", "{}", "two")
    assert problems(file(text)) == ['5:14 unresolved-reference Box/one/a spec.next: no Box "b" in namespace one']
    assert len(load([file(text + box("b", "{}", "one"))], KINDS).objects) == 3


def test_empty_default_is_no_reference() -> None:
    """An optional reference that is not given refers to nothing."""
    assert next(iter(load([file(box("a"))], KINDS).objects.values())).refs == ()


def test_specs_check_their_files(tmp_path: Path) -> None:
    """A nested spec's complaint about a file gets the position of the value."""
    text = box("a", "{parts: [{}, {file: gone.txt}]}")
    assert problems(file(text, root=tmp_path)) == ["5:27 bad-file Box/a spec.parts[1].file: there is no gone.txt"]
    (tmp_path / "gone.txt").touch()
    assert load([file(text, root=tmp_path)], KINDS).objects


def test_names_are_taken_once_over_all_files() -> None:
    """A second object of a name is refused where it stands, pointing at the first."""
    with pytest.raises(Problems) as caught:
        load([file(box("a"), "one.yaml"), file(box("a"), "two.yaml")], KINDS)
    (problem,) = caught.value.problems
    assert (problem.position.file, problem.related) == ("two.yaml", Position("one.yaml", 4, 18))


def test_digest_ignores_spelling_but_not_meaning() -> None:
    """Writing a default out changes no digest; another value, name or namespace does."""
    plain, spelled = (load([file(text)], KINDS) for text in (box("a"), box("a", "{on: [], maybe: ''}")))
    assert plain.revision == spelled.revision
    others = [box("b"), box("a", "{parts: [{}]}"), box("a", "{}", "other")]
    assert len({load([file(text)], KINDS).revision for text in [box("a"), *others]}) == 4


def test_unchanged_files_are_not_read_again() -> None:
    """A second look at the same bytes gives the same objects; a changed file is read anew, a removed one is gone."""
    loader = Loader(KINDS)
    first = loader.load([file(box("a"), "a.yaml"), file(box("b"), "b.yaml")])
    second = loader.load([file(box("a"), "a.yaml"), file(box("b", "{next: a}"), "b.yaml")])
    kept, changed = [(first.objects[ref], second.objects[ref]) for ref in sorted(first.objects)]
    assert kept[0] is kept[1]
    assert changed[0].digest != changed[1].digest
    assert len(loader.load([file(box("a"), "a.yaml")]).objects) == 1


@pytest.mark.parametrize("objects", [101, 150], ids=["one-more", "many-more"])
def test_problems_of_one_file_are_limited(objects: int) -> None:
    """A file with hundreds of problems says a hundred, and where the rest begins; its names still count as there."""
    text = "".join(box(f"a{n}", "{bogus: 1}") for n in range(objects))
    with pytest.raises(Problems) as caught:
        load([file(text), file(box("b", f"{{next: a{objects - 1}}}"), "g.yaml")], KINDS)
    told = caught.value.problems
    assert [one.code for one in told] == ["unknown-field"] * 100 + ["too-many-problems"]
    assert told[-1].position.line == 502
    assert "f.yaml has 100 problems" in told[-1].message


def test_no_limit_is_told_when_it_is_just_met() -> None:
    """A file with exactly as many problems as are told has no more."""
    told = problems(file("".join(box(f"a{n}", "{bogus: 1}") for n in range(100))))
    assert len(told) == 100
    assert not any("too-many" in one for one in told)


def test_field_of_another_kind_names_both_values() -> None:
    """A problem names object, field, what was expected and what was found."""
    assert problems(file(box("a", "{on: b}"))) == ['5:12 wrong-type Box/a spec.on: expected a list, got "b"']


def test_files_are_looked_at_beside_wrong_fields(tmp_path: Path) -> None:
    """What is valid by itself in a document that is not is looked at, so that all that is wrong is told at once."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("Text.\n")
    text = """
apiVersion: loomd.dev/v1
kind: KnowledgeBase
metadata: {name: kb}
spec:
  embedder: words
  sources:
    - {path: nowhere}
    - {path: docs}
    - {path: docs, include: ["*.zip"], maxFile: much}
    - {type: inline, texts: {a/b.md: Text.}}
  retrieval: {topK: 0}
---
apiVersion: loomd.dev/v1
kind: Embedder
metadata: {name: words}
spec: {type: hash}
"""
    with pytest.raises(Problems) as caught:
        Loader().load([SourceFile(tmp_path, "kb.yaml", text.encode())])
    assert [(one.code, one.pointer) for one in sorted(caught.value.problems, key=lambda one: one.position)] == [
        ("bad-file", "/spec/sources/0/path"),
        ("invalid-value", "/spec/sources/2/maxFile"),
        ("invalid-value", "/spec/sources/3/texts/a~1b.md"),
        ("out-of-range", "/spec/retrieval/topK"),
    ]
