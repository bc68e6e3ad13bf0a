"""Inputs that are meant to hurt: refused at once, in little memory, and never the end of the process."""

import json
import sys
from typing import Any

import pytest

from tests import nursery
from tests.manifest.hostile import CASES

SECONDS = 3.0
MEMORY = 300.0
HARMLESS = {
    "byte-order-marks",
    "carriage-returns",
    "comments",
    "empty-documents",
    "escapes",
    "folded",
    "long-text",
    "many-labels",
}
"""What may also be read without a problem."""


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_at_once(name: str) -> None:
    """It ends in problems; three seconds of CPU are enough to read it and to show them in any form, 300 MiB for all.

    A busy machine gets three tries.
    """
    seconds: dict[str, float] = {}
    for _ in range(3):
        found = cost(name)
        assert found["codes"] or name in HARMLESS
        assert found["MiB"] < MEMORY, found
        seconds = {act: min(used, seconds.get(act, used)) for act, used in found["seconds"].items()}
        if max(seconds.values()) < SECONDS:
            break
    assert max(seconds.values()) < SECONDS, seconds


def cost(name: str) -> dict[str, Any]:
    """Let another process read a case, and return what it told."""
    done = nursery.run([sys.executable, "-c", "from tests.manifest.hostile import main; main()", name])
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found
