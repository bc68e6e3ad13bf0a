"""What programs send: bodies of requests, checked as they are decoded. Unknown fields are refused."""

import msgspec

from loomd.amoeba.task import Budget, Expect


class Submission(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new task. Without `seed` one is drawn; without `cluster` the namespace's only one takes it."""

    goal: str
    cluster: str = ""
    seed: int | None = None
    budget: Budget = Budget()
    expect: Expect = Expect()


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
