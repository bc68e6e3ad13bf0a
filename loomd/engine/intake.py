"""How a wish becomes a task: checked, with a fresh id and a seed."""

import hashlib
import secrets

from loomd.amoeba.task import Budget, Expect, Task
from loomd.clock import Clock
from loomd.engine.images import lean
from loomd.errors import Permanent


def new_task(
    goal: str,
    clock: Clock,
    *,
    namespace: str = "default",
    cluster: str = "",
    seed: int | None = None,
    budget: Budget | None = None,
    expect: Expect | None = None,
) -> Task:
    """Return a task with an id that is unique and sorts by time; without a seed one is drawn and kept.

    Raises:
        Permanent: the goal is empty or no Unicode, or a limit of the budget is negative.
    """
    if not goal.strip():
        raise Permanent("goal: expected what is wanted, in words; got nothing")
    if not goal.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in goal):
        raise Permanent("goal: the text is not valid Unicode; write it in UTF-8")
    wanted = budget or Budget()
    for name, limit in (("tokens", wanted.tokens), ("seconds", wanted.seconds)):
        if limit is not None and limit <= 0:
            raise Permanent(f"budget.{name}: expected more than 0, got {limit}")
    if wanted.cost is not None and wanted.cost < 0:
        raise Permanent(f"budget.cost: expected 0 or more, got {wanted.cost}")
    return Task(
        id=_new_id(clock),
        goal=goal.strip(),
        namespace=namespace,
        cluster=cluster,
        seed=secrets.randbits(32) if seed is None else seed,
        budget=wanted,
        expect=expect or Expect(),
    )


def anew(task: Task, clock: Clock) -> Task:
    """Return a task that wants the same as one that was accepted, under an id of its own.

    What the cluster had granted is for the cluster to grant again.
    """
    own, granted = task.budget, task.grant
    budget = Budget(
        own.tokens if granted.tokens is None else None,
        own.cost if granted.cost is None else None,
        own.seconds if granted.seconds is None else None,
    )
    return Task(
        id=_new_id(clock),
        goal=task.goal,
        namespace=task.namespace,
        cluster=task.cluster,
        seed=task.seed,
        budget=budget,
        expect=task.expect,
        durability=task.durability,
        images=task.images,
    )


def keyed_id(namespace: str, key: str) -> str:
    """Return the id of the task that is wished for under an idempotency key."""
    digest = hashlib.sha256(f"{namespace}\0{key}".encode()).hexdigest()
    return f"t{digest[:11]}-{digest[11:19]}"


def is_same_wish(one: Task, other: Task) -> bool:
    """Return whether a task wants the same as one that was accepted; what it may use is not what it wants.

    What it leaves open was filled in there.
    """
    same = (one.goal, one.namespace, one.expect) == (other.goal, other.namespace, other.expect)
    same = same and lean(one).images == lean(other).images
    return same and one.cluster in {"", other.cluster} and one.durability in {None, other.durability}


def _new_id(clock: Clock) -> str:
    return f"t{int(clock.now() * 1000):011x}-{secrets.token_hex(4)}"
