"""How a wish becomes a task: checked, with a fresh id and a seed."""

import hashlib
import re
import secrets
from typing import TypedDict, Unpack, get_args

from loomd.amoeba.expect import Expect, refuse_faulty
from loomd.amoeba.task import Budget, Durability, Finding, Task
from loomd.clock import Clock
from loomd.engine.images import lean
from loomd.errors import Permanent
from loomd.messages import Image

_NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._:@|+=]{0,199}")
"""A session, a tenant or a user."""
_RETRIES = 10
"""Most attempts after the first one."""
_SEED = 2**63
"""Seeds are below it, and not below its negative."""


class Wish(TypedDict, total=False):
    """What may be said of a task, beside its goal."""

    namespace: str
    """Where the cluster lives; `default` by default."""
    cluster: str
    """Name of the cluster; needed only when the namespace has several."""
    agent: str
    """Name of the member that is to do it, alone; by default the cluster chooses."""
    seed: int
    """Start of every random draw; without one it is drawn and kept."""
    budget: Budget
    """What the task and its parts may use; a limit that is not set is the cluster's own."""
    expect: Expect
    """What the answer must satisfy."""
    durability: Durability | None
    """What is kept; by default what the cluster says."""
    session: str
    """Name of the conversation that it is a turn of."""
    tenant: str
    """On whose behalf: conversations of one tenant are not seen by another."""
    images: tuple[Image, ...]
    """Pictures that its agents are shown beside the goal."""
    user: str
    """Who speaks: conversations of one user are not seen by another."""
    findings: tuple[Finding, ...]
    """Text files that its agents are shown beside the goal."""
    retries: int
    """How often it is begun anew when it fails; 0 by default."""


def new_task(goal: str, clock: Clock, **wish: Unpack[Wish]) -> Task:
    """Return a task with an id that is unique and sorts by time; without a seed one is drawn and kept.

    Raises:
        Permanent: the goal is empty, no text or no Unicode, no answer can be held against what is expected, budget or
            expectations are something else, a limit of the budget is negative, the seed is no whole number of 63 bits
            and a sign, the durability is none, or session, tenant or user is no name.
    """
    _check_goal(goal)
    if "budget" in wish:
        _check_type("budget", wish["budget"], Budget)
        _check_budget(wish["budget"])
    if not 0 <= wish.get("retries", 0) <= _RETRIES:
        raise Permanent(f"retries: expected 0 to {_RETRIES}, got {wish.get('retries')}")
    check_names(session=wish.get("session"), tenant=wish.get("tenant"), user=wish.get("user"))
    if "expect" in wish:
        _check_type("expect", wish["expect"], Expect)
        refuse_faulty(wish["expect"])
    _check_choices(wish.setdefault("seed", secrets.randbits(32)), wish.get("durability"))
    return Task(id=new_id(clock), goal=goal.strip(), **wish)


def check_names(**given: str | None) -> None:
    """Refuse a session, tenant or user that is no name; empty is none.

    Raises:
        Permanent: one of them is no name.
    """
    for field, name in given.items():
        if name and not _NAME.fullmatch(name):
            raise Permanent(
                f"{field}: expected up to 200 letters, digits and -._:@|+= that begin with a letter or a digit, got "
                f"{name[:80]!r}"
            )


def _check_goal(goal: object) -> None:
    """Refuse what says nothing.

    Raises:
        Permanent: it is empty, no text or no Unicode.
    """
    if not isinstance(goal, str):
        raise Permanent(f"goal: expected what is wanted, in words; got {goal!r:.80}")
    if not goal.strip():
        raise Permanent("goal: expected what is wanted, in words; got nothing")
    if not goal.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in goal):
        raise Permanent("goal: the text is not valid Unicode; write it in UTF-8")


def _check_type(field: str, given: object, wanted: type[object]) -> None:
    """Refuse what is of another type.

    Raises:
        Permanent: it is.
    """
    if not isinstance(given, wanted):
        raise Permanent(f"{field}: expected a {wanted.__module__}.{wanted.__name__}, got {given!r:.80}")


def _check_budget(wanted: Budget) -> None:
    """Refuse limits that nothing can keep to.

    Raises:
        Permanent: one is negative.
    """
    for name in ("tokens", "cost", "seconds", "calls", "tool_calls"):  # 0 is none at all
        if (limit := getattr(wanted, name)) is not None and limit < 0:
            raise Permanent(f"budget.{name}: expected 0 or more, got {limit}")


def _check_choices(seed: object, durability: object) -> None:
    """Refuse what no type checker has seen.

    Raises:
        Permanent: the seed is no whole number of 63 bits and a sign, or the durability is none.
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or not -_SEED <= seed < _SEED:
        raise Permanent(f"seed: expected a whole number from {-_SEED} to {_SEED - 1}, got {seed!r:.80}")
    if durability is not None and durability not in get_args(Durability):
        known = ", ".join(get_args(Durability))
        raise Permanent(f"durability: expected one of {known}, got {durability!r:.80}")


def anew(task: Task, clock: Clock) -> Task:
    """Return a task that wants the same as one that was accepted, under an id of its own.

    What the cluster had granted is for the cluster to grant again.
    """
    own, granted = task.budget, task.grant
    budget = Budget(
        own.tokens if granted.tokens is None else None,
        own.cost if granted.cost is None else None,
        own.seconds if granted.seconds is None else None,
        own.calls if granted.calls is None else None,
        own.tool_calls if granted.tool_calls is None else None,
    )
    return Task(
        id=new_id(clock),
        goal=task.goal,
        namespace=task.namespace,
        cluster=task.cluster,
        agent=task.agent,
        seed=task.seed,
        budget=budget,
        expect=task.expect,
        durability=task.durability,
        session=task.session,
        tenant=task.tenant,
        user=task.user,
        images=task.images,
        findings=task.findings,
        retries=task.retries,
        declared=task.declared,
    )


def keyed_id(namespace: str, key: str) -> str:
    """Return the id of the task that is wished for under an idempotency key."""
    digest = hashlib.sha256(f"{namespace}\0{key}".encode()).hexdigest()
    return f"t{digest[:11]}-{digest[11:19]}"


def is_same_wish(one: Task, other: Task) -> bool:
    """Return whether a task wants the same as one that was accepted; what it may use is not what it wants.

    What it leaves open was filled in there.
    """
    same = _wish(one) == _wish(other)
    return same and one.cluster in {"", other.cluster} and one.durability in {None, other.durability}


def _wish(task: Task) -> tuple[object, ...]:
    asked = task.goal, task.namespace, task.agent, task.expect, task.session, task.tenant, task.user
    return *asked, lean(task).images, task.findings, task.retries, task.declared


def new_id(clock: Clock) -> str:
    """Return an id that is unique and sorts by time."""
    return f"t{int(clock.now() * 1000):011x}-{secrets.token_hex(4)}"
