import pytest

from loomd.memory.facts import BASE, facts_of, key_of, reminder, sentences

MOST, LEAST = 12, 0.2


@pytest.mark.parametrize(
    ("goal", "answer", "facts"),
    [
        ("My sister keeps bees.", "How nice!", ["My sister keeps bees."]),
        ("Thanks! The spare key lies under the blue pot.", "Noted.", ["The spare key lies under the blue pot."]),
        ("What colour is the door?", "Blue.", ["What colour is the door? Blue."]),
        (
            "What do we know of the harbour?",
            "It opens at seven. It closes at nine.",
            ["It opens at seven.", "It closes at nine."],
        ),
        ("Please summarise the report.", "Ok.", []),
        ("Plan:\n- we use Postgres 16\n- Ann writes the docs", "Good.", ["we use Postgres 16", "Ann writes the docs"]),
        ("The same fact here.", "the SAME fact, here!", ["The same fact here."]),
        ("```\nx = this is code 42\n```", "That is one line of code.", ["That is one line of code."]),
        ("", "", []),
    ],
)
def test_what_is_a_fact(goal: str, answer: str, facts: list[str]) -> None:
    """Sentences that say something are facts, once each; questions, requests, code and politeness are none."""
    assert [one.text for one in facts_of(goal, answer, MOST, LEAST)] == facts


def test_importance() -> None:
    """What settles something counts most; numbers, names and one's own things count more than a plain statement."""
    said = {one.text: one for one in facts_of("The sky looks grey. We decided on 3 March to hire Ann.", "", MOST, 0.0)}
    plain, decided = said["The sky looks grey."], said["We decided on 3 March to hire Ann."]
    assert (plain.what, plain.importance) == ("fact", BASE)
    assert decided.what == "decision"
    assert decided.importance == pytest.approx(0.9)


def test_the_most_important_ones_stay_in_their_order() -> None:
    """Of too many facts the least important ones are left out."""
    text = "The sky is grey. We must leave on 4 May. The sea is blue. Ann agreed to pay 5 pounds."
    kept = [one.text for one in facts_of(text, "", 2, LEAST)]
    assert kept == ["We must leave on 4 May.", "Ann agreed to pay 5 pounds."]


def test_sentences_of_lists_and_lines() -> None:
    """List marks are no part of a sentence, and a line ends one."""
    assert sentences("# Head\n* one. two!\n2) three\n\n") == ["Head", "one.", "two!", "three"]
    assert key_of("One, two.") == key_of("one TWO") != key_of("two one")


def test_a_reminder() -> None:
    """Of many facts those come that count most for the goal, each once and in their order, as many as fit."""
    texts = ["The sky is grey today. The gate code is 77.", "Nothing new here. The gate code is 77. We decided to go."]
    assert reminder(texts, "What is the code of the gate?", 1000) == [
        "The sky is grey today.",
        "The gate code is 77.",
        "Nothing new here.",
        "We decided to go.",
    ]
    assert reminder(texts, "What is the code of the gate?", 25) == ["The gate code is 77."]
    assert reminder(texts, "What is the code of the gate?", 5) == []
