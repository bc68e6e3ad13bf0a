"""What is believed of agents: the prior, what was learned, and what is heard."""

import time
from typing import Any

import msgspec
import pytest

from loomd.amoeba.world import Score
from loomd.cluster.capability import Ageing, Book
from loomd.events.cluster import CapabilityUpdated
from loomd.events.event import Event, TaskStarted
from loomd.store.records import Capability

MEMBERS = [("ada", "s0"), ("ada", "s1"), ("ada", "s2"), ("bob", "s1")]
"""Agents with the digests of their behaviour."""
DAY = 86_400.0


def learned(agent: str, domain: str, score: float, count: int, spec: str = "s1") -> Capability:
    """Return a stored score."""
    return Capability(agent, spec, domain, score, 0.01, count, 0.0)


def aged(now: float, keep: float = 0.3, known: dict[str, list[str]] | None = None) -> Ageing:
    """Return what becomes of scores by a time in seconds, with a half-life of 14 days."""
    return Ageing(keep, 14 * DAY, lambda: now, known or {})


@pytest.mark.parametrize(
    ("agent", "spec", "domain"),
    [("bob", "s1", "maths"), ("ada", "s2", "maths"), ("ada", "s1", "law")],
    ids=["another-agent", "edited-agent", "another-domain"],
)
def test_the_prior_holds_where_nothing_was_learned(agent: str, spec: str, domain: str) -> None:
    """A score belongs to an agent, its behaviour and a domain; for any other the prior is believed."""
    book = Book(MEMBERS, [learned("ada", "maths", 0.9, 4)])
    assert book.score("ada", "s1", "maths", 0.5) == Score(0.9, 0.01, 4)
    assert book.score(agent, spec, domain, 0.5) == Score(0.5)


def test_a_score_of_zero_is_learned_too() -> None:
    """An agent that failed is not given the prior again."""
    assert Book(MEMBERS, [learned("ada", "maths", 0.0, 1)]).score("ada", "s1", "maths", 0.5).mean == 0.0


def test_updates_are_heard() -> None:
    """An update takes the place of the score; other events change nothing."""
    book = Book(MEMBERS, [learned("ada", "maths", 0.5, 1)])
    book.hear(Event(TaskStarted("x", "team"), 0.0))
    book.hear(Event(CapabilityUpdated("ada", "s1", "maths", 0.5, 0.7, 0.02, 2, "good"), 0.0))
    assert book.table() == {("ada", "s1", "maths"): Score(0.7, 0.02, 2)}


def test_overall_weighs_domains_by_their_tasks() -> None:
    """Three tasks in one domain count three times as much as one in another; other behaviours do not count."""
    book = Book(
        MEMBERS, [learned("ada", "maths", 0.8, 3), learned("ada", "law", 0.4, 1), learned("ada", "law", 0.0, 9, "s0")]
    )
    overall = book.overall("ada", "s1", 0.5)
    assert overall.mean == pytest.approx(0.7)
    assert overall.count == 4
    assert book.overall("bob", "s1", 0.5) == Score(0.5)


def test_overall_follows_updates() -> None:
    """An update replaces what its domain brought to the whole; it is not added to it."""
    book = Book(MEMBERS, [learned("ada", "maths", 0.8, 3), learned("ada", "law", 0.4, 1)])
    for mean, count in ((0.5, 4), (0.2, 5)):
        book.hear(Event(CapabilityUpdated("ada", "s1", "maths", 0.8, mean, 0.02, count, "bad"), 0.0))
    overall = book.overall("ada", "s1", 0.5)
    assert overall.mean == pytest.approx((0.2 * 5 + 0.4) / 6)
    assert overall.count == 6


def test_overall_of_what_is_not_locked_is_as_old_as_that_is() -> None:
    """What was learned in a domain that a person locked is left out, and does not keep the rest young."""
    book = Book([("ada", "s1")], [learned("ada", "maths", 0.9, 8), learned("ada", "law", 0.1, 8)], aged(14 * DAY))
    book.hear(Event(CapabilityUpdated("ada", "s1", "law", 0.1, 0.2, 0.02, 9, "good"), 14 * DAY))
    overall = book.overall("ada", "s1", 0.5, lambda domain: domain == "law")
    assert overall.mean == pytest.approx(0.7)
    assert overall.count == 4
    assert book.overall("ada", "s1", 0.5, lambda _: True) == Score(0.5)


def test_overall_looks_at_scores_of_one_agent_only() -> None:
    """However many agents there are, also where a person locked something: every task asks this of each of them."""
    members = [(f"agent-{number}", "s1") for number in range(1_000)]
    book = Book(members, [])
    for agent, _ in members:
        for domain in range(30):
            book.hear(Event(CapabilityUpdated(agent, "s1", f"d{domain}", 0.5, 0.7, 0.02, 2, "good"), 0.0))
    begun = time.process_time()
    assert {book.overall(*member, 0.5, lambda domain: domain == "d0").count for member in members} == {58}
    assert time.process_time() - begun < 1  # scores of all for each are 30 million


def test_what_others_learned_is_not_kept() -> None:
    """A book holds its members as they behave now: what an edited agent had learned stays in the store."""
    book = Book([("ada", "s1")], [learned("ada", "maths", 0.9, 4, "s0"), learned("eve", "maths", 0.9, 4)])
    book.hear(Event(CapabilityUpdated("ada", "s0", "maths", 0.5, 0.7, 0.02, 2, "good"), 0.0))
    assert book.table() == {}


def test_who_becomes_a_member_brings_what_was_learned_of_it() -> None:
    """Before, its scores are none of the cluster's; after, its updates are heard."""
    book = Book([("bob", "s1")], [learned("ada", "maths", 0.9, 4)])
    assert book.score("ada", "s1", "maths", 0.5) == Score(0.5)
    book.admit("ada", "s1", [learned("ada", "maths", 0.9, 4)])
    assert book.overall("ada", "s1", 0.5).mean == pytest.approx(0.9)
    book.hear(Event(CapabilityUpdated("ada", "s1", "maths", 0.9, 0.7, 0.02, 5, "bad"), 0.0))
    assert book.score("ada", "s1", "maths", 0.5) == Score(0.7, 0.02, 5)
    book.admit("ada", "s1", [])
    assert book.overall("ada", "s1", 0.5).count == 5


@pytest.mark.parametrize(
    ("days", "mean", "count"),
    [
        pytest.param(0, 0.9, 8, id="at-once"),
        pytest.param(14, 0.7, 4, id="half-life"),
        pytest.param(28, 0.6, 2, id="twice"),
        pytest.param(-1, 0.9, 8, id="clock-set-back"),
        pytest.param(3650, 0.5, 0, id="forgotten"),
    ],
)
def test_what_no_task_renews_goes_back_to_the_prior(days: float, mean: float, count: int) -> None:
    """Half of the way in a half-life, in mean and in count; not to zero."""
    book = Book([("ada", "s1")], [learned("ada", "maths", 0.9, 8)], aged(days * DAY))
    score = book.score("ada", "s1", "maths", 0.5)
    assert score.mean == pytest.approx(mean, abs=1e-6)
    assert score.count == count
    assert book.overall("ada", "s1", 0.5).mean == pytest.approx(mean if count else 0.5, abs=1e-6)
    assert book.table()["ada", "s1", "maths"].mean == 0.9, "what is stored does not age"


def test_a_task_renews_a_score() -> None:
    """It ages from its last update on."""
    book = Book([("ada", "s1")], [learned("ada", "maths", 0.9, 8)], aged(28 * DAY))
    book.hear(Event(CapabilityUpdated("ada", "s1", "maths", 0.6, 0.7, 0.02, 3, "good"), 14 * DAY))
    assert book.score("ada", "s1", "maths", 0.5).mean == pytest.approx(0.6)


def test_what_is_believed_follows_what_is_heard_and_the_time() -> None:
    """It is kept between two tasks; what the agent learns since, and what time takes, is in the next answer."""
    now = [0.0]
    book = Book([("ada", "s1")], [learned("ada", "maths", 0.9, 8)], Ageing(0.3, 14 * DAY, lambda: now[0]))

    def ask(domain: str = "maths", declared: float = 0.5, unknown: float = 0.3) -> tuple[float, float]:
        found = book.believed("ada", "s1", [domain], {"maths": declared}, unknown)
        return found.scores[domain].mean, found.overall.mean

    assert ask() == (0.9, 0.9)
    assert ask("law") == (0.3, 0.9)
    assert ask("law", unknown=0.2) == (0.2, 0.9)
    now[0] = 14 * DAY
    assert ask() == pytest.approx((0.7, 0.7))
    assert ask(declared=0.1) == pytest.approx((0.5, 0.5))
    book.hear(Event(CapabilityUpdated("ada", "s1", "maths", 0.7, 0.6, 0.02, 9, "bad"), now[0]))
    assert ask() == (0.6, 0.6)
    now[0] = 0.0
    assert ask() == (0.6, 0.6), "a clock that was set back"
    now[0] += 28 * DAY
    assert ask() == pytest.approx((0.55, 0.55))


def test_what_is_believed_within_a_moment_is_the_same() -> None:
    """A millionth of the half-life: no score moves by more than that in it."""
    now = [7 * DAY]
    book = Book([("ada", "s1")], [learned("ada", "maths", 0.9, 8)], Ageing(0.3, 14 * DAY, lambda: now[0]))
    first = book.believed("ada", "s1", ["maths"], {"maths": 0.5}, 0.3)
    now[0] += 1.0
    assert book.believed("ada", "s1", ["maths"], {"maths": 0.5}, 0.3) is first
    assert first.scores["maths"].mean == pytest.approx(book.score("ada", "s1", "maths", 0.5).mean, abs=1e-6)
    now[0] += 1.0
    assert book.believed("ada", "s1", ["maths"], {"maths": 0.5}, 0.3) is not first


def test_nobody_changes_what_others_are_told() -> None:
    """What is believed is shown to policies, task after task: one that writes into it is refused."""
    book = Book(MEMBERS, [learned("ada", "maths", 0.9, 4)])
    scores: Any = book.believed("ada", "s1", ["maths"], {"maths": 0.5}, 0.3).scores
    with pytest.raises(TypeError, match="does not support item assignment"):
        scores["maths"] = Score(0.0)


def test_who_is_no_member_is_believed_what_was_declared() -> None:
    """Nothing is kept of it."""
    book = Book([], [])
    assert book.believed("eve", "s1", ["maths"], {"maths": 0.8}, 0.3).scores == {"maths": Score(0.8)}
    assert book.believed("bob", "s1", ["maths"], {"law": 0.8}, 0.3).scores == {"maths": Score(0.3)}


def test_an_edit_keeps_the_score_and_cuts_what_it_rests_on() -> None:
    """Of the latest behaviour that knew the domain; an agent of another namespace with its name is another one."""
    scores = [
        msgspec.structs.replace(learned("ada", "maths", 0.9, 10, "s0"), updated=1.0),
        msgspec.structs.replace(learned("ada", "law", 0.2, 10, "s0"), updated=1.0),
        msgspec.structs.replace(learned("ada", "maths", 0.7, 5, "s1"), updated=2.0),
        msgspec.structs.replace(learned("ada", "art", 0.9, 9, "elsewhere"), updated=3.0),
    ]
    book = Book([("ada", "s2")], scores, aged(2.0, 0.5, {"ada": ["s1", "s0"]}))
    assert [book.score("ada", "s2", domain, 0.5).mean for domain in ("maths", "law", "art")] == [
        pytest.approx(0.7),
        pytest.approx(0.2),
        0.5,
    ]
    assert [book.score("ada", "s2", domain, 0.5).count for domain in ("maths", "law")] == [2, 5]


def test_a_rollback_finds_what_was() -> None:
    """Scores of the behaviour itself are never mixed with those of another."""
    scores = [learned("ada", "maths", 0.9, 10, "s0"), learned("ada", "maths", 0.1, 5, "s1")]
    book = Book([("ada", "s0")], scores, aged(0.0, 0.5, {"ada": ["s1", "s0"]}))
    assert book.score("ada", "s0", "maths", 0.5) == Score(0.9, 0.01, 10)


def test_nothing_is_kept_when_it_is_not_wanted() -> None:
    """With `keep: 0` an edited agent learns anew."""
    book = Book([("ada", "s1")], [learned("ada", "maths", 0.9, 10, "s0")], aged(0.0, 0.0, {"ada": ["s0"]}))
    assert book.score("ada", "s1", "maths", 0.5) == Score(0.5)


def test_uncertainty_shrinks_with_tasks() -> None:
    """Of what nothing is known it is that of any number from 0 to 1."""
    assert Score(0.5).uncertainty == pytest.approx(0.2887, abs=1e-4)
    assert Score(0.5, 0.01, 3).uncertainty < Score(0.5, 0.01, 1).uncertainty
    assert Score(0.5, 0.0, 1).uncertainty > 0, "two equal rewards prove nothing"
