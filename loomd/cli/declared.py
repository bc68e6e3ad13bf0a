"""The task that a manifest declares, as a submission: for `submit -f`, which applies nothing."""

import base64
from pathlib import Path

import msgspec

from loomd.api.client import Json
from loomd.errors import Permanent
from loomd.manifest.load import load
from loomd.manifest.source import read_path
from loomd.tasks.spec import TaskSpec


def wish_of(path: Path) -> tuple[str, Json]:
    """Return the namespace of a declared task, and what it asks for as the API takes it.

    Raises:
        Problems: the manifest is not valid.
        Permanent: it declares no task, or several.
    """
    snapshot = load(read_path(path.absolute()), pending=True)
    items = [item for item in snapshot.objects.values() if isinstance(item.spec, TaskSpec)]
    if len(items) != 1:
        named = ", ".join(item.ref.name for item in items) or "none"
        raise Permanent(f"{path}: expected one Task, got {named}: apply it, and name one with --from task/NAME")
    spec, root = items[0].spec, items[0].folder
    budget = {"tokens": spec.budget.tokens, "cost": spec.budget.cost, "seconds": spec.budget.time}
    expect: Json = msgspec.to_builtins(spec.expect.carried(root))
    wish: Json = {
        "goal": spec.goal.strip(),
        "budget": {name: limit for name, limit in budget.items() if limit is not None},
        "expect": expect,
        "retries": spec.retries,
        "durability": spec.durability,
        "images": [base64.b64encode((root / one).read_bytes()).decode() for one in spec.images],
        "files": [{"name": one, "text": (root / one).read_bytes().decode()} for one in spec.files],
    }
    for name in ("agent", "cluster", "session", "tenant", "user"):
        wish[name] = getattr(spec, name) or ""
    return items[0].ref.namespace, wish
