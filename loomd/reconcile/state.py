"""What is known of each source: what it tried, what of it serves, whether it is suspended, and why.

Kept in memory and in the store; changed by the reconciler alone.
"""

import hashlib
import logging
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import msgspec

from loomd.clock import Clock
from loomd.errors import NotFound
from loomd.manifest.delivery import Delivery, SourceType
from loomd.manifest.object import Object
from loomd.manifest.wording import did_you_mean
from loomd.reconcile.condition import Condition, Seen, merge, rfc3339
from loomd.store.records import SourceRecord

_log = logging.getLogger("loomd.reconcile")

ATTEMPTS = 5
"""Attempts that are kept of each source."""

Outcome = Literal["applied", "unchanged", "refused", "failed"]
"""How an attempt ended: `refused` when the manifests are not valid or not allowed, `failed` for everything else."""


class Attempt(msgspec.Struct, frozen=True, rename="camel"):
    """One attempt of a source to deliver.

    Attributes:
        revision: what the source called it.
        at: when it was made last, RFC 3339.
        outcome: how it ended.
        message: why, when it did not serve.
        problems: what is wrong with the manifests, each as `Problem.to_json` gives it.
    """

    revision: str
    at: str
    outcome: Outcome
    message: str = ""
    problems: tuple[dict[str, Any], ...] = ()


class SourceState(msgspec.Struct, frozen=True, rename="camel"):
    """A source as the API shows it.

    Attributes:
        name: absolute path of a folder or file, `-`, or `git/<namespace>/<name>`.
        type: how it delivers.
        suspended: whether its deliveries are ignored.
        reason: why it is suspended.
        until: the revision that is ignored while it is suspended; another one ends the suspension. Empty: none does.
        last_attempted_revision: what it delivered last.
        last_applied_revision: what of it serves, in its own words; empty after a rollback to something else.
        last_attempt_at: when it delivered last, RFC 3339.
        asked: how often it was asked to look at once.
        answered: how often it had been asked when the look began whose end was noted last.
        attempts: the last ones, newest first, each revision once.
        conditions: `Ready`, `Reconciling`, `Stalled`, `Suspended`.
        inventory: the objects that it declares, `Kind/namespace/name`.
    """

    name: str
    type: SourceType = "apply"
    suspended: bool = False
    reason: str = ""
    until: str = ""
    last_attempted_revision: str = ""
    last_applied_revision: str = ""
    last_attempt_at: str = ""
    asked: int = 0
    answered: int = 0
    attempts: tuple[Attempt, ...] = ()
    conditions: tuple[Condition, ...] = ()
    inventory: tuple[str, ...] = ()

    @property
    def followed(self) -> bool:
        """Return whether the daemon follows it, so that what it declares is not changed by hand."""
        return self.type != "apply"


class SourceBook:
    """The states of all sources."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._states: dict[str, SourceState] = {}
        self._unsaved: set[str] = set()
        self._applying: set[str] = set()
        self._looks: dict[str, int] = {}

    def load(self, records: Iterable[SourceRecord]) -> None:
        """Take over what the store knows; a record that cannot be read is one of a source that is not known yet."""
        for record in records:
            try:
                state = msgspec.json.decode(record.body, type=SourceState)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                _log.error("what is stored of source %s is damaged (%s): it begins anew", record.name, error)
            else:
                self._states[record.name] = state

    def draft(self) -> "SourceBook":
        """Return a copy, to see what would be."""
        copy = SourceBook(self._clock)
        copy._states, copy._unsaved, copy._looks = dict(self._states), set(self._unsaved), self._looks
        return copy

    def unsaved(self) -> tuple[list[SourceRecord], list[str]]:
        """Return the records that the store does not have yet, and the sources that it is to forget."""
        known = [name for name in sorted(self._unsaved) if name in self._states]
        records = [SourceRecord(name, msgspec.json.encode(self._states[name])) for name in known]
        return records, sorted(self._unsaved - self._states.keys())

    @contextmanager
    def saving(self) -> Generator[None]:
        """Note that the store gets all that is unsaved, unless it fails; what changes meanwhile is unsaved again."""
        taken, self._unsaved = self._unsaved, set()
        try:
            yield
        except BaseException:
            self._unsaved |= taken
            raise

    @contextmanager
    def saved(self) -> Generator[None]:
        """Note in the context what the store has already."""
        before = set(self._unsaved)
        yield
        self._unsaved = before

    def all(self) -> list[SourceState]:
        """Return all sources by name."""
        return [self._states[name] for name in sorted(self._states)]

    def get(self, name: str) -> SourceState:
        """Return a source.

        Raises:
            NotFound: there is none of that name.
        """
        if name not in self._states:
            hint = did_you_mean(name, self._states, "there are") or "there is none yet"
            raise NotFound(f"no source {name!r}: {hint}")
        return self._states[name]

    def find(self, name: str) -> SourceState:
        """Return a source, also one that nothing is known of yet."""
        return self._states.get(name) or SourceState(name)

    def seen_of(self, item: Object) -> list[Seen]:
        """Return what is known of a git source by what it delivers, and whether its own manifest suspends it.

        One that is declared and not announced yet has delivered nothing, like one that was.
        """
        state = self.find(f"git/{item.ref.namespace}/{item.ref.name}")
        seen = [Seen.of(one) for one in state.conditions] or _observe(state, applying=False)
        if item.spec.suspend:
            seen.append(
                Seen("Suspended", "True", "Suspended", "by spec.suspend: nothing is looked at until it is false")
            )
        return seen

    def apply(self, name: str, applying: bool) -> None:
        """Note that something of a source is being applied, or is not any more; nothing of one that is not known."""
        if name in self._states:
            (self._applying.add if applying else self._applying.discard)(name)
            self._set(self._states[name])

    def announce(self, name: str, kind: SourceType) -> None:
        """Note that a source is there, before it delivers for the first time; `apply` never ends being followed."""
        state = self.find(name)
        if name not in self._states or kind not in {"apply", state.type}:
            self._set(state, type=kind)

    def ask(self, name: str) -> None:
        """Note that a source is asked to look at once; nothing of one that is not known."""
        if name in self._states:
            self._set(self._states[name], asked=self._states[name].asked + 1)

    def look(self, name: str) -> int:
        """Note that a look of a source begins, and return how often it has been asked to."""
        self._looks[name] = self.find(name).asked
        return self._looks[name]

    def attempted(
        self,
        name: str,
        revision: str,
        outcome: Outcome,
        message: str = "",
        problems: Iterable[Mapping[str, Any]] = (),
        look: int | None = None,
    ) -> None:
        """Note how an attempt ended; one that did not get as far as to know a revision has none.

        Args:
            name: the source.
            revision: what it calls what it delivered.
            outcome: how it ended.
            message: why.
            problems: the same by places.
            look: what `look` said when it found that; by default the newest one did.
        """
        state = self.find(name)
        at = rfc3339(self._clock.now())
        attempt = Attempt(revision, at, outcome, message, tuple(dict(one) for one in problems))
        others = [one for one in state.attempts if one.revision != revision]
        good = outcome in {"applied", "unchanged"}
        self._set(
            state,
            attempts=(attempt, *others)[:ATTEMPTS],
            last_attempted_revision=revision or state.last_attempted_revision,
            last_attempt_at=at,
            answered=self._looks.get(name, state.answered) if look is None else look,
            last_applied_revision=revision if good else state.last_applied_revision,
        )

    def holds(self, name: str, inventory: Iterable[str]) -> None:
        """Note what a source declares; one that is not followed is forgotten with the last of it."""
        held, state = tuple(sorted(inventory)), self.find(name)
        if not held and not state.followed:
            self.drop(name)
        elif held != self.find(name).inventory:
            self._set(self.find(name), inventory=held)

    def rolled_back(self, name: str) -> None:
        """Note that something else than its last delivery serves."""
        self._set(self.find(name), last_applied_revision="")

    def suspend(self, name: str, reason: str, until: str = "") -> None:
        """Ignore the deliveries of a source from now on."""
        self._set(self.get(name), suspended=True, reason=reason, until=until)

    def resume(self, name: str) -> None:
        """Take the deliveries of a source again."""
        self._set(self.get(name), suspended=False, reason="", until="")

    def release(self, name: str) -> None:
        """Treat a source as if what it declared had been applied by hand."""
        if name in self._states:
            self._set(self._states[name], type="apply", suspended=False, reason="", until="")

    def drop(self, name: str) -> None:
        """Forget a source."""
        self._applying.discard(name)
        self._looks.pop(name, None)
        if self._states.pop(name, None) is not None:
            self._unsaved.add(name)

    def _set(self, state: SourceState, **changes: Any) -> None:
        state = msgspec.structs.replace(state, **changes)
        conditions = merge(state.conditions, _observe(state, state.name in self._applying), 1, self._clock.now())
        self._states[state.name] = msgspec.structs.replace(state, conditions=conditions)
        self._unsaved.add(state.name)


def default_revision(delivery: Delivery) -> str:
    """Return what a source calls its state: its own name for it, or a digest of its files."""
    if delivery.revision:
        return delivery.revision
    whole = hashlib.sha256()
    for file in delivery.files:
        whole.update(f"{file.root}\0{file.path}\0{len(file.data)}\0".encode("utf-8", "surrogateescape"))
        whole.update(file.data)
    return f"sha256:{whole.hexdigest()[:12]}"


def _observe(state: SourceState, applying: bool) -> list[Seen]:
    last = state.attempts[0] if state.attempts else None
    if last is None:
        ready = Seen("Ready", "Unknown", "NotApplied", "it has not delivered anything yet")
    elif last.outcome in {"refused", "failed"}:
        reason = "Refused" if last.outcome == "refused" else "Failed"
        ready = Seen("Ready", "False", reason, last.message)
    elif state.last_applied_revision != last.revision:
        ready = Seen("Ready", "False", "RolledBack", "an earlier revision serves instead of its own")
    else:
        ready = Seen("Ready", "True", "Applied", f"{last.revision} serves")
    stalled = ready.reason in {"Refused", "Failed"}
    text = ready.message if stalled else "nothing keeps it from being applied"
    why = state.reason or "by hand"
    return [
        ready,
        Seen("Reconciling", "True", "Progressing", "something of it is being applied")
        if applying
        else Seen("Reconciling", "False", "UpToDate", "nothing of it is being applied"),
        Seen("Stalled", "True" if stalled else "False", ready.reason if stalled else "Active", text),
        Seen("Suspended", "True", "Suspended", why)
        if state.suspended
        else Seen("Suspended", "False", "Active", "its deliveries are taken"),
    ]
