"""What is believed of agents: the prior, what was learned, and what is heard."""

import pytest

from loomd.amoeba.world import Score
from loomd.cluster.capability import Book
from loomd.events.cluster import CapabilityUpdated
from loomd.events.event import Event, TaskStarted
from loomd.store.records import Capability

MEMBERS = [("ada", "s0"), ("ada", "s1"), ("ada", "s2"), ("bob", "s1")]
"""Agents with the digests of their behaviour."""


def learned(agent: str, domain: str, score: float, count: int, spec: str = "s1") -> Capability:
    """Return a stored score."""
    return Capability(agent, spec, domain, score, 0.01, count, 0.0)


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
