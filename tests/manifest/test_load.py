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


KINDS = {"Box": Kind("Box", "boxes", BoxSpec, "A box.")}


def box(name: str, spec: str = "{}", namespace: str = "default") -> str:
    """Return a document."""
    head = f"apiVersion: loomd.dev/v1\nkind: Box\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
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
        "20:16 reference-cycle Box/d spec.on[1]: the reference leads back to itself: Box/d -> Box/d",
    ]


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


def test_problems_of_one_file_are_limited() -> None:
    """A file with hundreds of problems says a hundred and how many more there are."""
    text = "".join(box(f"a{n}", "{bogus: 1}") for n in range(150))
    told = problems(file(text))
    assert len(told) == 101
    assert told[-1].endswith("and at least 50 more problems in this file")


def test_hostile_documents_are_refused_quickly() -> None:
    """Tens of thousands of unknown fields and names never keep the explanation busy: the time-out is the limit."""
    fields = ", ".join(f"field{n}: 1" for n in range(60_000))
    names = ", ".join(f"name{n}" for n in range(60_000))
    assert len(problems(file(box("a", f"{{{fields}}}")))) == 101
    assert len(problems(file(box("a", f"{{on: [{names}]}}")))) == 60_000


def test_field_of_another_kind_names_both_values() -> None:
    """A problem names object, field, what was expected and what was found."""
    assert problems(file(box("a", "{on: b}"))) == ['5:12 wrong-type Box/a spec.on: expected a list, got text "b"']
