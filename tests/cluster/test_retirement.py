"""Who is retired and revived: guards, cool-down, and agents that flap."""

from dataclasses import replace
from itertools import pairwise

import msgspec
import pytest

from loomd.amoeba.decision import Retirement, Revival
from loomd.amoeba.learning import Retire
from loomd.cluster.health import Vitals
from loomd.cluster.retirement import Retired, Ward, cool_down

DYING = Vitals("dying", "mean reward 0.10", 0.1, 6, 0.0)
GOOD = Vitals("good", "mean reward 0.90", 0.9, 6, 0.0)
MADE = Ward("sick", "s1", False, frozenset(), DYING)
OTHER = Ward("well", "s1", False, frozenset({"maths"}), GOOD)


@pytest.mark.parametrize(
    ("wards", "spec", "retired"),
    [
        pytest.param([MADE, OTHER], Retire(), ["sick"], id="made-by-the-cluster"),
        pytest.param([replace(MADE, declared=True), OTHER], Retire(), [], id="declared"),
        pytest.param([replace(MADE, declared=True), OTHER], Retire(declared=True), ["sick"], id="declared-allowed"),
        pytest.param([MADE], Retire(), [], id="the-last-agent"),
        pytest.param([MADE, OTHER], Retire(min_agents=2), [], id="min-agents"),
        pytest.param([replace(MADE, domains=frozenset({"law"})), OTHER], Retire(), [], id="the-last-of-a-domain"),
        pytest.param([replace(MADE, domains=frozenset({"maths"})), OTHER], Retire(), ["sick"], id="not-the-last"),
        pytest.param(
            [replace(MADE, vitals=msgspec.structs.replace(DYING, samples=4)), OTHER], Retire(), [], id="too-few-samples"
        ),
        pytest.param(
            [replace(MADE, vitals=msgspec.structs.replace(DYING, health="warning")), OTHER], Retire(), [], id="warned"
        ),
        pytest.param(
            [MADE, replace(MADE, agent="worse", vitals=msgspec.structs.replace(DYING, mean=0.0)), OTHER],
            Retire(),
            ["worse"],
            id="the-worst-first",
        ),
        pytest.param([replace(MADE, free=True), OTHER], Retire(), [], id="let-go"),
        pytest.param(
            [MADE, replace(MADE, agent="worse", free=True, vitals=msgspec.structs.replace(DYING, mean=0.0)), OTHER],
            Retire(),
            ["sick"],
            id="in-whose-place-nobody-is-left-out",
        ),
    ],
)
def test_guards(wards: list[Ward], spec: Retire, retired: list[str]) -> None:
    """An agent that is dying is retired unless something speaks against it; one at a time."""
    found = Retired("team").due(spec, wards, 1000.0)
    assert [one.agent for one in found if isinstance(one, Retirement)] == retired
    assert all(one.reason for one in found)


def test_a_clock_that_is_set_back_turns_nothing_round() -> None:
    """Who was retired last is retired, and who was revived last is not, whatever the clock says."""
    known = Retired("team")
    known.retire("sick", "s1", 1000.0)
    known.revive("sick", "s1", 900.0)
    assert not known.of("sick", "s1").active
    known.retire("sick", "s1", 800.0)
    assert known.of("sick", "s1").active
    (back,) = known.due(Retire(), [MADE, OTHER], 10_000.0)
    assert isinstance(back, Revival)
    known.revive("sick", "s1", 10_000.0)
    known.retire("sick", "s1", 9_000.0)
    assert known.of("sick", "s1").active


def test_at_most_one_in_a_while() -> None:
    """The next one waits."""
    known = Retired("team")
    known.retire("gone", "s1", 1000.0)
    assert known.due(Retire(), [MADE, OTHER], 1500.0) == []
    assert known.due(Retire(), [MADE, OTHER], 1600.0) != []


def test_an_edit_ends_a_retirement_and_that_is_said_once() -> None:
    """Also for who goes back to how it was; who is no member any more stays as it is."""
    made = Retired("team")
    stored = [made.descent(Retirement(name, "s0", 0.0, "x"), "default", "t1", 1000.0) for name in ("well", "gone")]
    known = Retired("team", stored)
    assert known.due(Retire(), [OTHER], 1001.0, serves=False) == [], "an old revision says nothing of edits"
    (one,) = known.due(Retire(), [OTHER], 1001.0)
    assert isinstance(one, Revival)
    assert (one.agent, one.spec) == ("well", "s0")
    assert "edit" in one.reason
    known.revive(one.agent, one.spec, 1001.0)
    assert known.due(Retire(), [OTHER], 1002.0) == []
    assert known.due(Retire(), [replace(OTHER, spec="s0")], 1002.0) == []


def test_what_an_old_revision_retires_is_no_edit() -> None:
    """Its tasks end beside what serves; whom they retire behaves there as before. Who was a member here was edited."""
    known = Retired("team")
    known.retire("well", "s0", 1000.0)
    assert known.due(Retire(), [OTHER], 1001.0) == []
    known.admit("well", "s0")
    assert [one.spec for one in known.due(Retire(), [OTHER], 1001.0) if isinstance(one, Revival)] == ["s0"]


def test_people_are_not_asked_twice() -> None:
    """While a proposal waits, and until it has expired."""
    known = Retired("team")
    known.hush("sick", "s1", 5000.0)
    assert known.due(Retire(), [MADE, OTHER], 4999.0) == []
    assert known.due(Retire(), [MADE, OTHER], 5000.0) != []


def test_an_agent_that_flaps_is_away_longer_each_time() -> None:
    """Sick whenever it works: over 30 days it works for an ever smaller part of the time, and never for nobody."""
    spec, known = Retire(), Retired("team")
    times: list[float] = []
    now, worked = 0.0, 0
    while now < 30 * 86_400:
        now += 300.0
        active = not known.of("sick", "s1").active
        worked += active
        for one in known.due(spec, [MADE, OTHER], now):
            if isinstance(one, Retirement):
                known.retire(one.agent, one.spec, now)
                times.append(now)
                assert one.until == now + cool_down(spec, len(times))
            elif isinstance(one, Revival):
                known.revive(one.agent, one.spec, now)
    gaps = [after - before for before, after in pairwise(times)]
    assert all(after >= before for before, after in pairwise(gaps)), gaps
    assert len(times) <= 12, "an agent that flaps is not retired again and again"
    assert worked <= 20


def test_what_is_stored_is_taken_up() -> None:
    """A restart finds who is retired, and how often it was; another cluster's retirements are its own."""
    known = Retired("team")
    stored = [
        known.descent(Retirement("sick", "s1", 0.0, "x"), "default", "t1", 10.0),
        known.descent(Revival("sick", "s1", "x"), "default", "t2", 20.0),
        known.descent(Retirement("sick", "s1", 0.0, "x"), "default", "t3", 30.0),
        Retired("other").descent(Retirement("well", "s1", 0.0, "x"), "default", "t4", 30.0),
    ]
    again = Retired("team", stored)
    record = again.of("sick", "s1")
    assert record.active
    assert record.times == 2
    assert record.until(Retire()) == 30.0 + 7200.0
    assert not again.of("well", "s1").active
    assert not again.of("sick", "s2").active, "an edited agent is another one"
