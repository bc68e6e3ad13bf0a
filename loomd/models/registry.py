"""Which models there are, where their weights come from, and what their bytes must hash to.

The list is `registry.toml` beside this module; a file of the same form in the folder of models adds to it. This
module fetches nothing. Called by `loomd models`, `loomd.models.fetch` and by whatever opens a model.
"""

import difflib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from loomd.errors import NotFound, Permanent
from loomd.models.place import has_marker, models_dir

REGISTRY = "registry.toml"
"""File name of the list, here and in the folder of models."""

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
"""A name that is safe as a file name and as an argument."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One piece of a file: the member of a wheel. The wheel's code is never imported."""

    package: Name
    version: Name
    member: str


class Wheels(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="wheels"):
    """A file as data in wheels of the package index: its parts, in order."""

    parts: tuple[Part, ...]

    def __str__(self) -> str:
        """Return what a person needs to recognise the source."""
        first, last = self.parts[0], self.parts[-1]
        more = "" if len(self.parts) == 1 else f" to {last.package}"
        return f"the package index ({first.package}{more}, {first.version})"


class Url(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="url"):
    """A file at an https address."""

    url: str

    def __str__(self) -> str:
        """Return the address."""
        return self.url


Source = Wheels | Url


class ModelFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a model. `size` is in bytes; `sources` are tried in order."""

    name: Name
    size: int
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    sources: tuple[Source, ...] = ()


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model. `default` means that `loomd models pull --default` fetches it."""

    name: Name
    kind: Literal["language", "embedding"]
    title: str
    licence: str
    files: Annotated[tuple[ModelFile, ...], msgspec.Meta(min_length=1)]
    default: bool = False

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(file.size for file in self.files)


class _Registry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    models: tuple[Model, ...]


def models(folder: Path | None = None) -> dict[str, Model]:
    """Return every known model by name: the built-in ones, then the user's own (which may not redefine them).

    Args:
        folder: the folder of models; None means the default one.

    Raises:
        Permanent: the user's `registry.toml` is not valid.
    """
    own = (folder or models_dir()) / REGISTRY
    found = dict(_built_in())
    if own.is_file():
        for model in _decode(own.read_text(encoding="utf-8"), str(own)):
            if model.name in found:
                raise Permanent(f"{own}: model {model.name!r} is built in: choose another name")
            found[model.name] = model
    return found


def find(name: str, folder: Path | None = None) -> Model:
    """Return a model by name.

    Raises:
        NotFound: there is none; the message names the closest.
    """
    known = models(folder)
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f'did you mean "{close[0]}"?' if close else f"known: {', '.join(known)}"
    raise NotFound(f'no model "{name}" ({hint})')


def path_of(folder: Path, model: Model, file: ModelFile) -> Path:
    """Return where a file of a model is kept."""
    return folder / model.name / file.name


def is_here(folder: Path, model: Model) -> bool:
    """Return whether all files of a model are kept and were once found right. Reads no weights."""
    return all(has_marker(path_of(folder, model, file), file.size, file.sha256) for file in model.files)


def locate(name: str, folder: Path | None = None) -> Path:
    """Return the path of a model's first file, for opening it. Reads no weights.

    Args:
        name: the model's name.
        folder: the folder of models; None means the default one.

    Raises:
        NotFound: no such model, or it was not fetched yet; the message says the command to run.
    """
    place = folder or models_dir()
    model = find(name, place)
    if not is_here(place, model):
        raise NotFound(f"model {name!r} is not in {place}, or was changed there; run: loomd models pull {name}")
    return path_of(place, model, model.files[0])


@cache
def _built_in() -> dict[str, Model]:
    text = Path(__file__).with_name(REGISTRY).read_text(encoding="utf-8")
    return {model.name: model for model in _decode(text, REGISTRY)}


def _decode(text: str, origin: str) -> tuple[Model, ...]:
    import tomllib  # noqa: PLC0415  # only a list that is read needs it

    try:
        return msgspec.convert(tomllib.loads(text), _Registry).models
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise Permanent(f"{origin}: {error}") from error
