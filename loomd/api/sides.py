"""A plan with both sides of every change in full: the object that serves and the one that is wanted. Pure.

Defaults are filled in on both sides, as in the comparison itself, and secrets are hidden: where two hidden values
differ it says so, and no more. Called by `changes`.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from loomd.manifest.kind import API_VERSION
from loomd.manifest.object import Object
from loomd.manifest.wording import HIDDEN, masked
from loomd.reconcile.plan import Change, Plan

Body = dict[str, Any]


def show_plan(plan: Plan, sources: Collection[str], full: bool) -> Body:
    """Return a plan as JSON: what changes, and what some sources declare and does not.

    Args:
        plan: the plan.
        sources: names of the sources that were delivered.
        full: whether every change has `before` and `after`, manifests or null.
    """
    told = [one for one in plan.changes if one.action != "unchanged" or plan.owners.get(one.ref) in sources]
    body = replace(plan, changes=tuple(told)).to_json()
    if full:
        body["changes"] = [one | _sides(change) for one, change in zip(body["changes"], told, strict=True)]
    return body


def _sides(change: Change) -> Body:
    before, after = _manifest(change.old), _manifest(change.new)
    return {
        "before": _marked(masked(before), before, after, "before"),
        "after": _marked(masked(after), after, before, "after"),
    }


def _manifest(item: Object | None) -> Body | None:
    """Return an object as the manifest that says everything, also what is left to defaults."""
    if item is None:
        return None
    metadata = item.metadata.model_dump(mode="json", by_alias=True)
    spec = item.spec.model_dump(mode="json", by_alias=True)
    return {"apiVersion": API_VERSION, "kind": item.ref.kind, "metadata": metadata, "spec": spec}


def _marked(shown: Any, value: Any, other: Any, side: str) -> Any:
    """Return a masked JSON value in which a hidden text says that it differs from the one on the other side.

    Args:
        shown: the masked value.
        value: the value itself.
        other: what stands in its place on the other side.
        side: word for a hidden text that differs.
    """
    if isinstance(shown, Mapping):
        across: Mapping[Any, Any] = other if isinstance(other, Mapping) else {}
        return {key: _marked(one, value[key], across.get(key), side) for key, one in shown.items()}
    if isinstance(shown, list):
        opposite: list[Any] = other if isinstance(other, list) else []
        return [_marked(*one, side) for one in zip_longest(shown, value, opposite[: len(value)])]
    return f"{HIDDEN[:-1]}, {side})" if shown == HIDDEN and value != other else shown
