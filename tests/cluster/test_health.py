"""How well agents do, by their last rewards: tables."""

import msgspec
import pytest

from loomd.amoeba.learning import Illness
from loomd.amoeba.world import Health
from loomd.cluster.health import Watch, judge
from loomd.events.cluster import CapabilityUpdated
from loomd.events.event import Event
from loomd.store.records import Lesson


@pytest.mark.parametrize(
    ("rewards", "before", "health"),
    [
        pytest.param([], "unknown", "unknown", id="nothing"),
        pytest.param([0.0, 0.0], "unknown", "unknown", id="too-few"),
        pytest.param([0.9, 0.8, 0.9], "unknown", "good", id="good"),
        pytest.param([0.4, 0.5, 0.4], "unknown", "warning", id="warning"),
        pytest.param([0.1, 0.3, 0.4], "unknown", "dying", id="dying"),
        pytest.param([1.0, 0.1, 0.1, 0.1, 0.1], "good", "dying", id="failures-in-a-row"),
        pytest.param([0.0, 0.0, 0.0, 0.9, 0.9, 0.9, 0.9, 0.9], "dying", "good", id="only-the-last-count"),
        pytest.param([0.52, 0.52, 0.52], "good", "good", id="above"),
        pytest.param([0.52, 0.52, 0.52], "warning", "warning", id="not-enough-above"),
        pytest.param([0.32, 0.32, 0.32], "dying", "dying", id="still-dying"),
        pytest.param([0.32, 0.32, 0.32], "good", "warning", id="not-yet-dying"),
    ],
)
def test_health_follows_rewards(rewards: list[float], before: Health, health: Health) -> None:
    """By the mean of the last ones, by failures in a row, and with a margin on the way back."""
    found = judge(Illness(), rewards, len(rewards), before)
    assert found.health == health
    assert found.reason


def reward(value: float, at: float, task: str, spec: str = "s1") -> Event:
    """Return the event of a reward."""
    return Event(CapabilityUpdated("ada", spec, "maths", 0.5, 0.5, 0.0, 1, "x", value), at, task)


def test_a_task_with_several_domains_counts_once() -> None:
    """And another reward for the last task takes the place of the first."""
    watch = Watch(Illness())
    watch.admit("ada", "s1")
    for at, value in ((1.0, 0.0), (1.0, 0.0), (2.0, 0.0), (2.0, 0.9)):
        watch.hear(reward(value, at, f"t{at}"))
    assert watch.vitals("ada", "s1").samples == 2
    assert watch.vitals("ada", "s1").mean == pytest.approx(0.45)


def test_what_is_stored_leads_to_the_same_health() -> None:
    """Told again after a restart, with the moment at which it began."""
    live, again = Watch(Illness()), Watch(Illness())
    live.admit("ada", "s1")
    rewards = [0.9, 0.1, 0.1, 0.1, 0.3, 0.35]
    for at, value in enumerate(rewards, start=1):
        live.hear(reward(value, float(at), f"t{at}"))
    stored = [Lesson("default", "ada", "s1", f"t{at}", value, float(at)) for at, value in enumerate(rewards, start=1)]
    again.admit("ada", "s1", stored[::-1])
    assert again.vitals("ada", "s1") == live.vitals("ada", "s1")
    assert live.vitals("ada", "s1").health == "dying"
    assert live.vitals("ada", "s1").since == 6.0


def test_a_word_on_a_task_of_long_ago_is_no_new_reward() -> None:
    """It changes that reward where it still counts, and nothing where it does not any more."""
    watch = Watch(Illness())
    watch.admit("ada", "s1")
    for at in range(8):
        watch.hear(reward(0.9, float(at), f"t{at}"))
    before = watch.vitals("ada", "s1")
    word = msgspec.structs.replace(reward(0.0, 9.0, "t1"), key="learned/feedback/1/ada/maths")
    watch.hear(word)
    assert watch.vitals("ada", "s1") == before
    watch.hear(msgspec.structs.replace(word, task="t4"))
    after = watch.vitals("ada", "s1")
    assert (after.samples, after.last) == (8, 7.0)
    assert after.mean == pytest.approx(0.9 * 4 / 5)
    watch.hear(reward(0.9, 10.0, "t8"))
    watch.hear(reward(0.9, 11.0, "t9"))
    assert watch.vitals("ada", "s1").mean == pytest.approx(0.9)


def test_whether_anyone_is_dying_follows_the_last_reward() -> None:
    """Until it does better, or begins anew."""
    watch = Watch(Illness())
    watch.admit("ada", "s1")
    said = [bool(watch.dying)]
    for first, value in ((0, 0.0), (5, 0.9), (10, 0.0)):
        for at in range(first, first + 5):
            watch.hear(reward(value, float(at), f"t{at}"))
        said.append(bool(watch.dying))
    watch.admit("ada", "s1")
    assert [*said, bool(watch.dying)] == [False, True, False, True, False]


def test_an_edited_agent_is_unknown() -> None:
    """Rewards belong to how it behaved."""
    watch = Watch(Illness())
    watch.admit("ada", "s2")
    for at in range(5):
        assert watch.hear(reward(0.0, float(at), f"t{at}")) is None
    assert watch.vitals("ada", "s2").health == "unknown"


def test_rewards_from_before_a_revival_say_nothing() -> None:
    """Probation begins with nothing."""
    watch = Watch(Illness())
    stored = [Lesson("default", "ada", "s1", f"t{at}", 0.0, float(at)) for at in range(6)]
    watch.admit("ada", "s1", stored[::-1], since=4.0)
    assert watch.vitals("ada", "s1").samples == 1
