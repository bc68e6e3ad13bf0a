"""Whether failed designs still say something: not once a person has changed what designs. Called by `forge`."""

import hashlib

from loomd.amoeba.forging import Forge
from loomd.manifest.object import Snapshot
from loomd.store.records import Average


def failures(known: Average, mark: float) -> Average:
    """Return how many designs failed one after another, of those that were asked for under the same mark."""
    return known if known.value == mark else Average(known.subject, known.name, mark, 0, 0.0)


def mark_of(snapshot: Snapshot, namespace: str, terms: Forge) -> float:
    """Return a number that is another one when a provider of the namespace or the terms of the forge are others."""
    providers = sorted(one.digest for one in snapshot.of_kind("Provider") if one.ref.namespace == namespace)
    text = "\0".join([*providers, terms.model_dump_json()])
    return float(int(hashlib.sha256(text.encode()).hexdigest()[:12], 16))
