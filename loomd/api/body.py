"""What programs send: bodies of requests, checked as they are decoded. Unknown fields are refused."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import msgspec

from loomd.amoeba.expect import Expect
from loomd.amoeba.task import Budget, Durability, Task
from loomd.api.problem import BadRequest
from loomd.clock import Clock
from loomd.engine.intake import Wish, keyed_id, new_task
from loomd.manifest.delivery import Delivery
from loomd.manifest.source import SourceFile, printable
from loomd.tasks.attached import files_of, images_of

_LONGEST = 4096
"""Most characters of a name: what a path may have."""


class TextFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text that the agents are shown beside the goal: a name, and what is in it."""

    name: str
    text: str


class Submission(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new task.

    Without `seed` one is drawn; without `cluster` the namespace's only one takes it, and without `durability` says how
    much is kept. `agent` names the member that does it, alone. `images` are pictures in base64: PNG, JPEG, GIF or WebP.
    `key` names this wish: sent again with it, after an answer that was lost, it is the same task. With a `session` it
    is a turn of that conversation; `tenant` and `user` say whose it is. One that fails is begun anew `retries` times.
    """

    goal: str
    cluster: str = ""
    agent: str = ""
    seed: int | None = None
    budget: Budget = Budget()
    expect: Expect = Expect()
    durability: Durability | None = None
    key: str = ""
    session: str = ""
    tenant: str = ""
    user: str = ""
    images: tuple[str, ...] = ()
    files: tuple[TextFile, ...] = ()
    retries: int = 0

    def task(self, namespace: str, clock: Clock) -> Task:
        """Return the task with a fresh id, or with the one that its key stands for.

        Raises:
            Permanent: the goal is empty, an image or a file is none, or session, tenant or user is no name.
        """
        wish = Wish(
            namespace=namespace,
            cluster=self.cluster,
            agent=self.agent,
            budget=self.budget,
            expect=self.expect,
            durability=self.durability,
            session=self.session,
            tenant=self.tenant,
            user=self.user,
            images=images_of(self.images),
            findings=files_of([(one.name, one.text) for one in self.files]),
            retries=self.retries,
        )
        if self.seed is not None:
            wish["seed"] = self.seed
        task = new_task(self.goal, clock, **wish)
        return msgspec.structs.replace(task, id=keyed_id(namespace, self.key)) if self.key else task


class Sending(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A declared task is sent. Without `seed` one is drawn; sent again with the same `key` it is the same task."""

    seed: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)] | None = None
    key: str = ""


class ManifestText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A manifest file as it is sent; `path` is below the root, `-` for standard input."""

    path: str
    text: str


class Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Files of one source, and the folder that their relative paths start from.

    Attributes:
        source: name of the source, usually the absolute path of the file or folder.
        root: absolute path of the folder that relative paths start from.
        files: the files.
        revision: what the source calls this state; by default a digest of the files.
    """

    source: str
    root: str
    files: tuple[ManifestText, ...]
    revision: str = ""


class Application(Batch, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Files of a source, and what is to be done with them.

    Attributes:
        others: files of other sources that are applied in the same act: all serve, or none.
        dry_run: open what is new and close it again, and change nothing.
        prune: they are all the source's files: what it had before and they do not declare is deleted.
        force: take over what another source declares that is not followed.
        manager: who acts, for the managed fields; by default the source.
        expected: number of the revision that the caller has seen; another one is answered with status 412.
        planned: digest of the revision that must come of it; another one is answered with status 412.
        full: answer with every object as it was and as it will be, not only with the fields that differ.
    """

    others: tuple[Batch, ...] = ()
    dry_run: bool = False
    prune: bool = False
    force: bool = False
    manager: str = ""
    expected: int | None = None
    planned: str = ""
    full: bool = False

    @property
    def sources(self) -> list[str]:
        """Return the names of all sources that deliver."""
        return [batch.source for batch in (self, *self.others)]

    def deliveries(self) -> list[Delivery]:
        """Return what is delivered, at least one.

        Raises:
            BadRequest: a root is not absolute, a file leaves it, a source or a file is named twice, or a name is none.
        """
        named: set[str] = set()
        for name in self.sources:
            if name in named:
                raise BadRequest(f"others: {name!r} is named twice: expected every source once")
            named.add(name)
        return [self._delivery(batch) for batch in (self, *self.others)]

    def _delivery(self, batch: Batch) -> Delivery:
        root = Path(_named("root", batch.root))
        if not root.is_absolute():
            raise BadRequest(f"root: expected an absolute path, got {batch.root!r}")
        return Delivery(
            _named("source", batch.source),
            _files(root, batch.files),
            revision=batch.revision and _named("revision", batch.revision),
            prune=self.prune,
            allow_empty=self.prune,
            force=self.force,
            manager=self.manager and _named("manager", self.manager),
            expected=self.expected,
            planned=self.planned,
        )


class ObjectName(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Names an object; with `resource_version`, one that did not change since it was read."""

    kind: str
    name: str
    namespace: str = "default"
    resource_version: str = ""


class Deletion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Objects that are deleted together, or none of them; with `ignore_missing` those that are there."""

    objects: tuple[ObjectName, ...]
    dry_run: bool = False
    ignore_missing: bool = False


class Rollback(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A return to a stored revision; without `to`, to the one before."""

    to: int | None = None
    dry_run: bool = False


class Suspension(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a source or a schedule is suspended."""

    reason: str = ""


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person's answer to a question; `by` is who, when a program asks for somebody."""

    verdict: Literal["approved", "denied"]
    reason: str = ""
    by: str = ""


class Signal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that is sent to a task: a name, and any JSON value."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=100)]
    value: Any = None


class Feedback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person thinks of an answer: a score from 0 to 1, and why; `by` as in `Answer`."""

    score: Annotated[float, msgspec.Meta(ge=0, le=1)]
    note: str = ""
    by: str = ""


def _named(field: str, text: str) -> str:
    if not text or len(text) > _LONGEST or printable(text) != text:
        raise BadRequest(f"{field}: expected 1 to {_LONGEST} characters on one line, got {text[:60]!r}")
    return text


def _files(root: Path, texts: Iterable[ManifestText]) -> tuple[SourceFile, ...]:
    found: dict[str, SourceFile] = {}
    for one in texts:
        path = _below(one.path)
        if path in found:
            raise BadRequest(f"files: {path!r} is named twice: expected every file once")
        found[path] = SourceFile(root, path, one.text.encode())
    return tuple(found.values())


def _below(path: str) -> str:
    pure = PurePosixPath(_named("files", path))
    if pure.is_absolute() or ".." in pure.parts:
        raise BadRequest(f"files: {path!r} leaves the root: expected a path below it")
    return path
