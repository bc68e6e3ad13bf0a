"""What phases record can be read by every later loomd, and is written as it was as long as nothing new is in it."""

import msgspec
import pytest

from loomd.agents.work import Outcome
from loomd.amoeba.decision import Adapted, ScoreMove
from loomd.amoeba.task import Evaluated, Executed, Matched, Result, Scaled, Sensed, Task
from loomd.messages import Usage

MOVE = ScoreMove("ada", "d1", "maths", 0.5, 0.6, 0.01, 3, "reward 0.900 in maths (weight 1.00)")
BEFORE = (
    b'{"agent":"ada","spec":"d1","domain":"maths","before":0.5,"after":0.6,"variance":0.01,"count":3,'
    b'"reason":"reward 0.900 in maths (weight 1.00)"}'
)
"""A decision as it was recorded when there was one sort of them."""
PHASES: dict[type, bytes] = {
    Sensed: b'{"complexity":0.2,"domains":{"maths":1.0},"tokens":3900,"evidence":["4 words"]}',
    Matched: b'{"winner":"ada","bids":[{"agent":"ada","total":0.5,"factors":{"capability":0.5}}],"why":"highest",'
    b'"weights":{"capability":1.0},"reserve":0.2}',
    Scaled: b'{"subtasks":[{"goal":"a"},{"goal":"b","needs":[0]}],"why":"2 parts","usage":{"input":20,"output":5},'
    b'"cost":0.25,"calls":1}',
    Evaluated: b'{"reward":0.9,"quality":1.0,"efficiency":0.8,"reliability":0.8,"evidence":["an answer: 1.00"],'
    b'"weights":{"quality":0.5}}',
}
"""Outputs of phases as they were recorded when SCALE alone asked models."""


def test_decisions_of_before_are_read() -> None:
    """They do not say what they are, and move a score."""
    adapted = msgspec.json.decode(b'{"decisions":[' + BEFORE + b"]}", type=Adapted)
    assert adapted.decisions == (MOVE,)
    assert msgspec.json.decode(msgspec.json.encode(adapted), type=Adapted).decisions == (MOVE,)
    assert msgspec.json.decode(b"{}", type=Adapted).decisions == ()


def test_decisions_say_what_they_are() -> None:
    """So that other mechanisms' decisions can stand beside them."""
    written = msgspec.json.encode(Adapted.of([MOVE]))
    assert written == b'{"decisions":[{"type":"score",' + BEFORE[1:] + b"]}"
    assert msgspec.json.decode(written, type=Adapted) == Adapted.of([MOVE])
    unknown = Adapted(({"type": "unheard-of"},))
    with pytest.raises(msgspec.ValidationError, match="unheard-of"):
        assert unknown.decisions


@pytest.mark.parametrize("phase", PHASES)
def test_outputs_of_before_are_read_and_written_alike(phase: type) -> None:
    """What a phase that asked no model puts out has no usage in it."""
    assert msgspec.json.encode(msgspec.json.decode(PHASES[phase], type=phase)) == PHASES[phase]


def test_a_result_of_before_is_read() -> None:
    """With all its phases."""
    written = (
        b'{"task":{"id":"t1","goal":"g"},"phase":"Succeeded","sensed":' + PHASES[Sensed] + b',"executed":{"outcome":'
        b'{"output":"42","stop_reason":"completed","usage":{"input":1,"output":2}},"agent":"ada"},'
        b'"evaluated":' + PHASES[Evaluated] + b',"adapted":{"decisions":[' + BEFORE + b"]}}"
    )
    result = msgspec.json.decode(written, type=Result)
    assert result.task == Task("t1", "g")
    assert result.executed == Executed(Outcome("42", "completed", Usage(1, 2)), "ada")
    assert result.adapted is not None
    assert result.adapted.decisions == (MOVE,)
    assert msgspec.json.decode(msgspec.json.encode(result), type=Result) == result
