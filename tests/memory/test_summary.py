"""What of a summary is kept: lines that say facts in fewer words, and nothing else."""

import pytest

from loomd.memory.item import Item
from loomd.memory.summary import judged


def facts(*texts: str) -> list[Item]:
    """Return working facts, numbered from 1."""
    return [
        Item(f"m{at}", text, "fact", "working", "agent", 0.5, 1, 0.0, 0.0, task=f"t{at}")
        for at, text in enumerate(texts, 1)
    ]


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("We pay Ann 40 pounds.", "Ann gets 40 pounds"),
        ("We decided to hire Ann on 3 March.", "Decided: hire Ann on 3 March."),
        ("the garden gate squeaks", "garden gate squeaks"),
        ("The lighthouse of Leith has 99 steps.", "Lighthouse of Leith: 99 steps."),
        ("We must never call Bob on Sundays.", "Never call Bob on Sundays."),
        ("We decided to move the harbour office to Leith in 2027.", "Harbour office: Leith, 2027."),
        ("The dog has never bitten the cat at night.", "Dog never bitten cat at night"),
        ("The hall holds at most 5 guests.", "Hall: at most 5 guests"),
        ("We don't serve tea, and we do not serve beer.", "We don't serve tea, do not serve beer."),
        ("The code of the US office is -5.", "Code of US office: -5"),
    ],
)
def test_fewer_words_are_kept(said: str, line: str) -> None:
    """A line that leaves words out stands for its fact."""
    (kept,) = judged(facts(said), line).lines
    assert (kept.text, [one.text for one in kept.facts]) == (line, [said])


@pytest.mark.parametrize(
    ("said", "line", "why"),
    [
        ("We pay Ann 40 pounds.", "Ann gets paid", "none of the facts"),
        ("We pay Ann 40 pounds.", "We pay 40 pounds", "none of the facts"),
        ("We pay Ann 40 pounds.", "All is well.", "none of the facts"),
        ("The garden gate squeaks.", "everything is fine", "none of the facts"),
        ("We have three cats.", "We have cats.", "none of the facts"),
        ("We pay Ann 40 pounds.", "Ann: 40 pounds in 2027", "a number or a name"),
        ("The garden gate of the old house squeaks.", "Bob's garden gate squeaks, old", "a number or a name"),
        ("The harbour of Leith opens at 7.", "The harbour of Leith closes at 7.", "other words"),
        ("The heating of the hall is off.", "Heating of the hall: on.", "other words"),
        ("You may open the gate of Leith at 7.", "You must open the gate of Leith at 7.", "limits"),
        ("You may open the gate of Leith at 7.", "You open the gate of Leith at 7.", "limits"),
        ("The hall holds at most 5 guests.", "The hall holds 5 guests.", "limits"),
        ("The hall holds at most 5 guests.", "The hall holds at least 5 guests.", "limits"),
        ("The hall holds 5 guests.", "The hall holds up to 5 guests.", "limits"),
        ("The hall holds > 5 guests.", "Hall: 5 guests", "limits"),
        ("The shop opens before 7.", "The shop opens 7.", "limits"),
        ("Call Bob if the gate squeaks.", "Call Bob: gate squeaks", "limits"),
        ("The cook or the gardener pays.", "Cook and gardener pay.", "limits"),
        ("Ann failed to open the gate.", "Ann opens the gate.", "limits"),
        ("It has -5 degrees in Leith.", "5 degrees in Leith", "none of the facts"),
        ("We serve no tea and no beer.", "No tea and beer served.", "denies"),
        ("We serve no tea, and no beer.", "We serve no tea.", "denies"),
        ("Ann likes tea and not beer.", "Ann likes not tea and beer.", "denies"),
        ("We decided to hire Ann on 3 March.", "We did not hire Ann on 3 March.", "denies"),
        ("We don't serve Ann coffee after 7.", "We serve Ann coffee after 7.", "denies"),
        ("Yesterday Ann owes Bob 40 pounds.", "Yesterday Bob owes Ann 40 pounds.", "another order"),
        ("The shop opens from 9 to 17.", "Shop opens from 17 to 9.", "another order"),
        ("The dog beat the cat.", "The cat beat the dog.", "another order"),
        ("Cats beat dogs.", "Dogs beat cats.", "another order"),
        ("Team B beat team A.", "Team A beat team B.", "another order"),
        ("I owe you 40 pounds.", "You owe me 40 pounds.", "another order"),
        ("Ann moved from Leith to Oslo.", "Ann moved to Leith from Oslo.", "another order"),
        ("Ann pays for Bob.", "Ann pays Bob.", "another order"),
        ("Ann hired Bob.", "Ann was hired by Bob.", "limits"),
        ("Bob was hired by Ann.", "Bob hired Ann.", "limits"),
        ("Ann was paid 40 pounds.", "Ann paid 40 pounds.", "limits"),
        ("We decided to hire Ann on 3 March.", "Ann was hired on 3 March.", "limits"),
        ("Ann likes tea.", "Ann likes tea in the old garden behind our big house.", "too much"),
    ],
)
def test_what_says_something_else_is_left_out(said: str, line: str, why: str) -> None:
    """A line that invents, denies, exchanges, turns round or adds something becomes no memory; why is told."""
    found = judged(facts(said), line)
    assert found.lines == ()
    ((text, reason),) = found.dropped
    assert text == line
    assert why in reason


def test_each_line_stands_for_its_own_facts() -> None:
    """What is exchanged between facts is in none of them, be it on two lines or on one."""
    gate, shed = "The gate 1 has the code 77.", "The shed 2 has the code 99."
    good = judged(facts(gate, shed, "Tea is ready."), "gate 1: code 77\nshed 2: code 99\nTea!")
    assert [(one.text, [fact.id for fact in one.facts]) for one in good.lines] == [
        ("gate 1: code 77", ["m1"]),
        ("shed 2: code 99", ["m2"]),
    ]
    (both,) = judged(facts(gate, shed), "gate 1 has 77 and shed 2 has the code 99").lines
    assert [one.id for one in both.facts] == ["m1", "m2"]
    assert judged(facts(gate, shed), "gate 1: code 99\nshed 2: code 77").lines == ()
    (mixed,) = judged(facts(gate, shed), "gate 1 has 99, shed 2 has the code 77").dropped
    assert mixed.why == "it mixes what several of them say"


def test_a_fact_that_is_said_word_for_word_stays() -> None:
    """Nothing is won by another item in its place, and nothing is told of it."""
    assert judged(facts("The harbour opens at 7."), "- the harbour opens at 7") == ((), ())
    assert judged(facts("The harbour opens at 7."), "") == ((), ())


def test_longer_than_the_facts() -> None:
    """A line that is longer than what it stands for saves nothing."""
    (dropped,) = judged(facts("Ann likes tea."), "So there is Ann who likes tea.").dropped
    assert dropped.why == "it is longer than they are"


def test_two_facts_of_the_same_words() -> None:
    """A line that says one of them does not stand for the other, which says the opposite."""
    assert judged(facts("The old cat beat the dog.", "The dog beat the old cat."), "Old cat beat dog").lines == ()
    (both,) = judged(facts("I like green tea.", "I like black tea."), "I like green tea, black").lines
    assert [one.id for one in both.facts] == ["m1", "m2"]
