"""What is said of a knowledge base: whether searches can be answered, and what is missing from the answers.

Data only; a knowledge base says what happened.
"""

from collections.abc import Sequence
from typing import Literal

from loomd.clock import Clock
from loomd.knowledge.ingest import Unreadable
from loomd.knowledge.standing import GraphStanding, Standing
from loomd.topology import Health, HealthReason

Status = Literal["True", "False", "Unknown"]


class Conditions:
    """The conditions of a knowledge base.

    Attributes:
        ready: whether searches can be answered: `Unknown` as long as what is stored is searched and the documents were
            not compared with it since it opened.
        degraded: whether documents are missing from the answers.
    """

    def __init__(self, clock: Clock) -> None:
        now = clock.now()
        self.ready = Health("IndexReady", "Unknown", "Indexing", "its documents are being indexed", now)
        self.degraded = Health("Degraded", "Unknown", "Indexing", "its documents are being read", now)
        self._clock = clock
        self._fault: tuple[HealthReason, str] | None = None
        self._left: tuple[int, int] | None = None

    def turn(self, status: Status, reason: HealthReason, message: str) -> None:
        """Say whether searches can be answered."""
        self.ready = self.ready.turn(status, reason, message, self._clock.now())

    def stored(self, passages: int) -> None:
        """Note that it answers from what is stored, and is about to look at its documents."""
        self.turn("Unknown", "Indexing", f"its documents are being read; {_searched(passages)}")

    def progress(self, done: int, total: int, passages: int) -> None:
        """Note how many passages of documents that are new or changed are indexed, and how many can be searched."""
        self._left = (done, total)
        if self.ready.status != "True" and self.ready.reason != "Fetching":
            said = f"{done:,} of {total:,} passages of new and changed documents are indexed; {_searched(passages)}"
            self.turn("Unknown" if passages else "False", "Indexing", said)

    def indexed(self, passages: int, awaited: int) -> None:
        """Note that all documents that are there are indexed.

        Args:
            passages: how many can be searched.
            awaited: sources of which nothing was fetched yet.
        """
        self._fault = self._left = None
        if not awaited:
            self.turn("True", "Indexed", _searched(passages))
        elif self.ready.reason != "FetchFailed":
            which = "a source" if awaited == 1 else f"{awaited} sources"
            self.turn("False", "Fetching", f"the documents of {which} are being fetched; {_searched(passages)}")

    def not_indexed(self, reason: Literal["EmbedFailed", "RefreshFailed"], message: str, passages: int) -> None:
        """Note that documents could not be indexed; the next good attempt ends that.

        Args:
            reason: whose fault it is: the embedder's, or another.
            message: what went wrong.
            passages: how many can be searched all the same.
        """
        self._left = None
        if self.ready.reason in {"Indexing", "Fetching", "EmbedFailed", "RefreshFailed"}:
            self.turn("Unknown" if passages else "False", reason, f"{message}; {_searched(passages)}")
        self.stays(reason, message)

    def unusable(self, message: str) -> bool:
        """Note that the index cannot be used now, and return whether that is new; the next good attempt ends it."""
        is_new = self.ready.reason != "IndexUnusable"
        self.turn("False", "IndexUnusable", message)
        return is_new

    def stays(self, reason: HealthReason, message: str) -> None:
        """Note why what is there could not be brought up to date."""
        self._fault = (reason, message)
        self.degraded = self.degraded.turn("True", reason, message, self._clock.now())

    def lacks(
        self,
        unreadable: Sequence[Unreadable],
        standing: Standing,
        recall: float,
        awaited: int,
        unmet: Sequence[str] = (),
    ) -> None:
        """Say what is missing from the answers; what is worse comes first.

        Args:
            unreadable: documents that were left out.
            standing: how its indexes stand.
            recall: share of the nearest passages that a search should find.
            awaited: sources of which nothing was fetched yet.
            unmet: for what `retrieval.filter` asks that no document has, in sentences.
        """
        status, reason, message = self._lacking(unreadable, standing.graph, awaited)
        if standing.damage:
            said = f"its store is damaged, and passages may be missing ({standing.damage}): restart to have it mended"
            status, reason, message = "True", "IndexDamaged", said
        if (
            unmet
            and self._fault is None
            and reason not in {"IndexDamaged", "Indexing", "Fetching", "SourceUnreachable"}
        ):
            said = f"{unmet[0]}: nothing is found; mend retrieval.filter, or the documents"
            status, reason, message = "True", "FilterUnmatched", said
        if reason == "DocumentsRead" and standing.depth and standing.recall < recall:
            status, reason, message = "True", "RecallBelowTarget", _misses(standing, recall)
        self.degraded = self.degraded.turn(status, reason, message, self._clock.now())

    def _lacking(
        self, unreadable: Sequence[Unreadable], graph: GraphStanding | None, awaited: int
    ) -> tuple[Status, HealthReason, str]:
        if self._fault is not None:
            return "True", *self._fault
        if away := [one for one in unreadable if one.away]:
            said = "; ".join(f"{one.path} {one.reason}" for one in away)
            return "True", "SourceUnreachable", f"what was read before is found, and may be old: {said}"
        if unreadable:
            first, more = unreadable[0], len(unreadable) - 1
            left_out = f"{first.path} {first.reason}" + (f"; and {more} more" if more else "")
            return "True", "DocumentsSkipped", f"left out: {left_out}"
        if self._left is not None:
            done, total = self._left
            return "Unknown", "Indexing", f"new and changed documents are indexed: {done:,} of {total:,} passages"
        if graph is not None and (graph.failed or graph.pending):
            lacks = [f"{graph.pending} {'wait: ' if graph.waits else 'are looked through'}{graph.waits}"]
            lacks = (lacks if graph.pending else []) + [f"{graph.failed} could not be understood"] * bool(graph.failed)
            status: Status = "True" if graph.failed or graph.waits else "Unknown"
            return status, "GraphIncomplete", f"passages that are not in the graph: {'; '.join(lacks)}"
        if awaited:
            return "Unknown", "Fetching", "documents are still to be fetched"
        return "False", "DocumentsRead", "all documents are read"


def _misses(standing: Standing, recall: float) -> str:
    finds = f"{standing.type} finds {standing.recall:.1%} of the nearest passages at any depth"
    others = "another index.type" if standing.type != "ivfpq" else "index.type ivf or hnsw, which need more memory"
    return f"{finds}, and index.recall asks for {recall:.1%}: choose {others}, or a lower index.recall"


def _searched(passages: int) -> str:
    return "1 passage can be searched" if passages == 1 else f"{passages} passages can be searched"
