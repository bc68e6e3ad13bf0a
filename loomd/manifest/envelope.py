"""What a document says of itself: its version and its kind. One of an old version is brought into the form of today.

Looks at nothing below the envelope but the fields that an old version has elsewhere. Called by `convert` and `rewrite`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from loomd.manifest.kind import API_VERSION, Kind
from loomd.manifest.object import Ref
from loomd.manifest.places import Document
from loomd.manifest.problem import Problem
from loomd.manifest.refusal import MAX_REFUSALS, Refusal, instead, missing, unknown_fields
from loomd.manifest.version import Move, OldVersion, Upgrade, upgrade
from loomd.manifest.wording import did_you_mean, dotted, got, listed

_FIELDS = ("apiVersion", "kind", "metadata", "spec")
"""Fields of every document."""


def check_envelope(value: Any, kinds: Mapping[str, Kind]) -> tuple[list[Refusal], Kind | None, OldVersion | None]:
    """Return what is wrong with version and kind, the kind when there is one, and the version when it is an old one."""
    if not isinstance(value, dict):
        expected, hint = "a mapping with apiVersion, kind, metadata, spec", "separate objects by a line with ---"
        hint = hint if isinstance(value, list) else ""
        return [instead("", "wrong-type", expected, got(value, ""), hint)], None, None
    refusals: list[Refusal] = []
    given, name, known = value.get("apiVersion"), value.get("kind"), f"one of {listed(kinds)}"
    kind = kinds.get(name) if isinstance(name, str) else None
    version = next((one for one in kind.versions if one.api_version == given), None) if kind else None
    hint = f"write apiVersion: {API_VERSION}"
    if "apiVersion" not in value:
        refusals.append(missing("/apiVersion", f"add apiVersion: {API_VERSION}", API_VERSION))
    elif given != API_VERSION and version is None:
        refusals.append(instead("/apiVersion", "unknown-api-version", API_VERSION, got(given, ""), hint))
    if "kind" not in value:
        refusals.append(missing("/kind", f"add kind: {known}", known))
        refusals += islice(unknown_fields(value, _FIELDS, ""), MAX_REFUSALS)
    elif kind is None:
        found, hint = got(name, ""), did_you_mean(str(name), kinds, "one of")
        refusals.append(Refusal("/kind", "unknown-kind", f"there is no kind {found}", hint, known, found))
    return refusals, kind, version


def in_todays_form(document: Document, version: OldVersion) -> tuple[Upgrade, list[Refusal]]:
    """Return a document of an old version as it would be written today, and what that version does not take.

    Args:
        document: its value is a mapping.
        version: the version that it says.
    """
    refusals: list[Refusal] = []
    for pointer, names in version.added().items():
        if pointer in document.places:
            hint = f"write {names} instead, or apiVersion: {API_VERSION}"
            found = f"the field {pointer.rpartition('/')[2]}"
            text = f"unknown field in {version.api_version}"
            refusals.append(Refusal(pointer, "unknown-field", text, hint, names, found))
    past = upgrade(document, version, API_VERSION)
    refusals += [instead(at, "wrong-type", expected, got(found, at)) for at, expected, found in past.wrong]
    return past, refusals


def deprecated(document: Document, ref: Ref | None, version: OldVersion, moved: Sequence[Move]) -> Problem:
    """Return the warning that a document is of an old version, with the fields that it should write."""
    owner, name = f"{ref} " if ref else "", document.position.file
    fields = ", ".join(f"{dotted(one.pointer)} for {dotted(one.old)}" for one in moved) or "the same fields"
    message = f"{owner}apiVersion: {version.api_version} is deprecated, {API_VERSION} has {fields}"
    return Problem(
        document.where("/apiVersion"),
        "deprecated-version",
        message,
        "/apiVersion",
        f"loomd convert --write -f {name} does it" if name[:1] != "<" else "loomd convert -f - does it",
        object=str(ref or ""),
        expected=API_VERSION,
        got=version.api_version,
        severity="warning",
    )


def in_old_words(refusals: Iterable[Refusal], version: OldVersion | None) -> Iterator[Refusal]:
    """Yield refusals of today's schema; a field that is misspelled may be one that only the old version has."""
    for one in refusals:
        parent, _, name = one.pointer.rpartition("/")
        if version is not None and one.code == "unknown-field":
            names = [move.old.rpartition("/")[2] for move in version.moves if move.old.rpartition("/")[0] == parent]
            hint = did_you_mean(name, names)
            yield replace(one, hint=hint) if hint else one
        else:
            yield one
