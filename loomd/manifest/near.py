"""What may have been meant by a name that leads nowhere: another namespace, another kind, another spelling.

Looked at only when something is wrong. Called by `graph`.
"""

from collections.abc import Mapping

import msgspec

from loomd.manifest.object import Ref
from loomd.manifest.places import Document
from loomd.manifest.problem import Position
from loomd.manifest.wording import did_you_mean, listed, quoted

MAX_COMPARED = 20_000
"""Most names that are looked at for those that are spelled almost alike; that takes time."""
NAME = "/metadata/name"
"""Where the name of an object stands in its document."""


class Guess(msgspec.Struct, frozen=True):
    """What may have been meant.

    Attributes:
        hint: the next act.
        related: where that stands which may have been meant.
        several: whether several names are spelled almost so.
    """

    hint: str = ""
    related: Position | None = None
    several: bool = False


class Near:
    """All names that exist, by what people mix up."""

    def __init__(self, known: Mapping[Ref, Document]) -> None:
        self._known = known
        self._siblings: dict[tuple[str, str], list[str]] = {}
        self._namespaces: dict[tuple[str, str], list[str]] = {}
        self._kinds: dict[tuple[str, str], list[str]] = {}
        self._plain: dict[tuple[str, str, str], list[str]] = {}
        self._compared = 0
        for ref in sorted(known):
            self._siblings.setdefault((ref.kind, ref.namespace), []).append(ref.name)
            self._namespaces.setdefault((ref.kind, ref.name), []).append(ref.namespace)
            self._kinds.setdefault((ref.name, ref.namespace), []).append(ref.kind)
            self._plain.setdefault((ref.kind, ref.namespace, _plain(ref.name)), []).append(ref.name)

    def guess(self, to: Ref) -> Guess:
        """Return what may have been meant by a name that is not there."""
        siblings = self._siblings.get((to.kind, to.namespace), [])
        same = self._plain.get((to.kind, to.namespace, _plain(to.name)), [])
        if len(same) > 1:
            return Guess(f"write one of {listed(same)}", self._where(to._replace(name=same[0])), several=True)
        if same:
            return Guess(f"did you mean {quoted(same[0])}?", self._where(to._replace(name=same[0])))
        kinds = self._kinds.get((to.name, to.namespace))
        if kinds:
            hint = f"{quoted(to.name)} is {listed(one(kind) for kind in kinds)}; this field takes {one(to.kind)}"
            return Guess(hint, self._where(to._replace(kind=kinds[0])))
        away = self._namespaces.get((to.kind, to.name))
        if away:
            hint = f"there is one in namespace {listed(away)}; references stay inside their namespace"
            return Guess(hint, self._where(to._replace(namespace=away[0])))
        self._compared += len(siblings)
        if siblings and self._compared > MAX_COMPARED:
            return Guess(f"there are: {listed(siblings)}")
        return Guess(did_you_mean(to.name, siblings, "there are:") or f"add {one(to.kind)} of that name")

    def _where(self, ref: Ref) -> Position:
        return self._known[ref].where(NAME)


def one(kind: str) -> str:
    """Return the name of a kind with its article."""
    return f"{'an' if kind[:1] in 'AEIO' else 'a'} {kind}"


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
