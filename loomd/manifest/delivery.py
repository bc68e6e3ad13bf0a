"""What a source delivers: its files, and on what terms. Made by sources and the API, taken by the reconciler."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from loomd.manifest.object import Snapshot
from loomd.manifest.source import SourceFile

SourceType = Literal["apply", "directory", "git"]


@dataclass(frozen=True)
class Delivery:
    """The files of one source.

    Attributes:
        source: name of the source: the absolute path of a folder or file, `-`, or `git/<namespace>/<name>`.
        files: its files.
        type: how the source delivers. `apply` is one act of a person; `directory` and `git` are followed.
        revision: what the source calls this state, `main@sha1:4f3c...`; by default a digest of the files.
        prune: delete what the source declared before and no longer does; otherwise that is kept as it is.
        allow_empty: whether an empty set may delete all that the source declared.
        force: take over objects that another source of type `apply` declares.
        manager: who acts, for the managed fields; by default the source.
        expected: number of the revision that the caller has seen; when another one serves, nothing is done.
        planned: digest of the revision that was planned; when another one would come of it, nothing is done.
        look: how often the source had been asked to look when it began to; None where nobody asks.
        admits: is called with what would serve, before anything of it is opened; what it raises refuses it.
    """

    source: str
    files: tuple[SourceFile, ...]
    type: SourceType = "apply"
    revision: str = ""
    prune: bool = True
    allow_empty: bool = False
    force: bool = False
    manager: str = ""
    expected: int | None = None
    planned: str = ""
    look: int | None = None
    admits: Callable[[Snapshot], object] | None = None
