"""What is known of the errors of a cluster's judges: moving averages that outlive the process. Called by `cluster`."""

from collections.abc import Sequence

from loomd.amoeba.leaning import Bias
from loomd.manifest.object import Ref
from loomd.store.records import Average
from loomd.topology import Services


class Judges:
    """The biases of one cluster's judges."""

    def __init__(self, cluster: Ref, services: Services) -> None:
        self._cluster = cluster
        self._services = services

    def bias(self, judge: str) -> Bias:
        """Return what is known of a judge."""
        averages, subject = self._services.averages, self._subject(judge)
        mean, square = averages.get(subject, "bias"), averages.get(subject, "spread")
        if mean is None or square is None:
            return Bias()
        return Bias(mean.value, square.value, mean.count)

    def lean(self, judge: str, error: float, pace: float) -> Bias:
        """Take an error over, in one transaction with what is noted next."""
        for moved in self.learn(judge, error, pace):
            self._services.store.average(moved)
        return self.bias(judge)

    def learn(self, judge: str, error: float, pace: float) -> Sequence[Average]:
        """Take an error over, and return what is to be stored."""
        moved, subject, now = self.bias(judge).moved(error, pace), self._subject(judge), self._services.clock.now()
        found = (
            Average(subject, "bias", moved.mean, moved.count, now),
            Average(subject, "spread", moved.square, moved.count, now),
        )
        for one in found:
            self._services.averages.take(one)
        return found

    def _subject(self, judge: str) -> str:
        return f"judge/{self._cluster.namespace}/{self._cluster.name}/{judge}"
