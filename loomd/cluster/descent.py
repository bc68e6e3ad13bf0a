"""What stands in the lineage of agents: what happened to one, where, and why, in one text.

The version and the reason are part of it, so that two ways back of an agent after the same task are two entries. Called
by `learn` and the API.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Happened:
    """What happened to an agent.

    Attributes:
        how: in one word: `promoted`, `tried`, `retired`.
        cluster: name of the cluster.
        version: of the blueprint that it is about; 0 for none, or where it is not known.
        reason: why, or what came of it; empty where it does not stand here.
    """

    how: str
    cluster: str
    version: int = 0
    reason: str = ""

    def written(self) -> str:
        """Return it as it is stored: `reverted in team, version 3: it does worse`."""
        version = f", version {self.version}" if self.version else ""
        return f"{self.how} in {self.cluster}{version}" + (f": {self.reason}" if self.reason else "")


def happened(text: str) -> Happened:
    """Return what a text in the lineage says; a version and a reason it need not have."""
    head, _, reason = text.partition(": ")
    head, _, version = head.partition(", version ")
    how, _, rest = head.partition(" ")
    return Happened(how, rest.partition(" ")[2], int(version or 0), reason)
