"""What loomd itself says to models stays as it is as long as the version of the engine does.

Recorded steps are compared with what is asked now, so that other words would end every task in flight as `Diverged`. An
older version's tasks are not compared.
"""

import hashlib
import json
from collections.abc import Iterator

from loomd.agents.context import brief
from loomd.agents.loop import WRAP_UP
from loomd.amoeba import design, scale
from loomd.amoeba.execute import brought, within
from loomd.amoeba.policies import judge, llm_match, llm_sense
from loomd.amoeba.task import ENGINE, Finding, Place
from loomd.evolution import proposal

SAID = {4: "0fb56dd6b9a1338c"}
"""By version of the engine: a hash of all that `words` yields. Other words need another version, and its line in the
docstring of `ENGINE`; the line of an earlier version goes."""


def words() -> Iterator[str]:
    """Yield what the phases and the agents' loop say of their own."""
    yield within(Place("a, b and c", ("a", "b", "c"), 1))
    yield brief("b", [Finding("a", "1"), Finding("f.txt", "text", file=True)], ["it rains"], "within")
    yield brought(Finding("a", "", failed="no answer"))
    yield WRAP_UP
    yield from (scale._SYSTEM, scale._WHOLE)
    yield from (one.text for one in (*scale._EXAMPLES, *scale._KEPT))
    yield from (llm_sense._SYSTEM, llm_match._SYSTEM, design._SYSTEM)
    yield from (judge._SYSTEM, judge._RUBRIC)
    yield from (proposal._SYSTEM, proposal._ADDED, proposal._WHOLE)


def test_other_words_are_another_version() -> None:
    """Whoever changes one changes the other."""
    said = json.dumps(list(words())).encode()
    assert {ENGINE: hashlib.sha256(said).hexdigest()[:16]} == SAID
