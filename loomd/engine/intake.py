"""How a wish becomes a task: checked, with a fresh id and a seed."""

import secrets

from loomd.amoeba.task import Budget, Expect, Task
from loomd.clock import Clock
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
        id=f"t{int(clock.now() * 1000):011x}-{secrets.token_hex(4)}",
        goal=goal.strip(),
        namespace=namespace,
        cluster=cluster,
        seed=secrets.randbits(32) if seed is None else seed,
        budget=wanted,
        expect=expect or Expect(),
    )
