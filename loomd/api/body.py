"""What programs send: bodies of requests, checked as they are decoded. Unknown fields are refused."""

import msgspec

from loomd.amoeba.task import Budget, Expect, Task
from loomd.clock import Clock
from loomd.engine.intake import new_task


class Submission(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new task. Without `seed` one is drawn; without `cluster` the namespace's only one takes it."""

    goal: str
    cluster: str = ""
    seed: int | None = None
    budget: Budget = Budget()
    expect: Expect = Expect()

    def task(self, namespace: str, clock: Clock) -> Task:
        """Return the task with a fresh id.

        Raises:
            Permanent: the goal is empty.
        """
        return new_task(
            self.goal,
            clock,
            namespace=namespace,
            cluster=self.cluster,
            seed=self.seed,
            budget=self.budget,
            expect=self.expect,
        )


class ManifestText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A manifest file as it is sent; `path` is below the root, `-` for standard input."""

    path: str
    text: str


class Application(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Files of one source, and the folder that their relative paths start from.

    With `prune` they are all its files: what it had before and they do not declare is deleted.
    """

    source: str
    root: str
    files: tuple[ManifestText, ...]
    dry_run: bool = False
    prune: bool = False
