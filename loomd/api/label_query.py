"""A label selector as text: `app=web,tier!=test,env in (a, b),zone notin (x),team,!old`, all of which must hold."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from loomd.api.problem import BadRequest

_KEY = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_FORMS = re.compile(
    rf"\s*(?:(?P<no>!)\s*(?P<absent>{_KEY})"
    rf"|(?P<one>{_KEY})\s*(?P<sign>==?|!=)\s*(?P<value>[-A-Za-z0-9_.]*)"
    rf"|(?P<set>{_KEY})\s+(?P<word>in|notin)\s*\((?P<values>[^()]*)\)"
    rf"|(?P<there>{_KEY}))\s*(?:,|$)"
)
_LONGEST = 1000

Labels = Mapping[str, str]


@dataclass(frozen=True)
class LabelQuery:
    """Requirements on labels; none accepts everything."""

    requirements: tuple[Callable[[Labels], bool], ...]

    @staticmethod
    def parse(text: str) -> "LabelQuery":
        """Return the selector that a text stands for.

        Raises:
            BadRequest: it is none; the text says where.
        """
        found: list[Callable[[Labels], bool]] = []
        at = 0
        while at < len(text) and text.strip():
            form = _FORMS.match(text, at) if len(text) <= _LONGEST else None
            if form is None:
                raise BadRequest(
                    f"label selector: expected key=value, key in (a, b), key or !key, got {text[at : at + 40]!r}"
                )
            found.append(_requirement(form))
            at = form.end()
        return LabelQuery(tuple(found))

    def accepts(self, labels: Labels) -> bool:
        """Return whether labels meet all requirements."""
        return all(holds(labels) for holds in self.requirements)


def _requirement(form: re.Match[str]) -> Callable[[Labels], bool]:
    key = form["absent"] or form["one"] or form["set"] or form["there"]
    if form["no"]:
        return lambda labels: key not in labels
    if form["one"]:
        wanted, value = form["sign"] != "!=", form["value"]
        return lambda labels: (labels.get(key) == value) is wanted
    if form["set"]:
        values = {one.strip() for one in form["values"].split(",")}
        return lambda labels: (labels.get(key) in values) is (form["word"] == "in")
    return lambda labels: key in labels
