"""loomd as it is: the journal is always on. Acknowledged after the commit (WAL, synchronous=FULL, group commit)."""

from .loomd import DISTS, close, make_agent, run, setup  # noqa: F401

PEER = "loomd, journal with fsync"
