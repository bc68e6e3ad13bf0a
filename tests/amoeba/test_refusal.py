"""Tests of how a refusal is known by its words, and of what it is worth."""

import msgspec
import pytest

from loomd.agents.work import Outcome
from loomd.amoeba.evaluate import combined, explain
from loomd.amoeba.expect import Expect
from loomd.amoeba.policies.ema import Ema
from loomd.amoeba.policies.rules import CheckWeights, Refusals, Rules
from loomd.amoeba.refusal import refuses
from loomd.amoeba.task import Executed, Sensed, Task
from loomd.amoeba.world import Score, Standing
from tests.amoeba.cases import case

REFUSED = Executed(Outcome("I cannot help with that.", "completed"), "a")


@pytest.mark.parametrize(
    "answer",
    [
        "I cannot help with that.",
        "I can\N{RIGHT SINGLE QUOTATION MARK}t help with that.",
        "I'm sorry, but I can't assist with that request.",
        "Sorry, I am not able to do that.",
        "Unfortunately, we are not allowed to say that.",
        "As an AI language model, I cannot give advice.",
        "Thank you for your question! I'm afraid I can't answer it.",
        "I must decline.",
        "I won't do that.",
        "I do not know.",
        "Sorry, that is something I can't do.",
        "I'm sorry.",
    ],
)
def test_refusals(answer: str) -> None:
    """What says that it gives no answer is one, however polite."""
    assert refuses(answer, words=100, shown=False)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "The fee is 5 euros.",
        "I'm sorry to hear that. You can return the lamp within 14 days.",
        "Sorry for the delay: the fee is 5 euros.",
        "I cannot find any mistake in it.",
        "I cannot recommend this book enough.",
        "You cannot return it. I asked.",
        "I cannot open the link. " + "What it is about is told here at length. " * 20,
    ],
)
def test_answers(answer: str) -> None:
    """An apology, praise and a long answer are none."""
    assert not refuses(answer, words=100, shown=False)


@pytest.mark.parametrize(
    ("answer", "shown", "refused"),
    [
        pytest.param("I'm sorry, but the passages do not hold the answer.", True, False, id="passages"),
        pytest.param("I cannot answer that from the given documents.", True, False, id="documents"),
        pytest.param("I do not know.", True, False, id="not-known"),
        pytest.param("I do not know.", False, True, id="nothing-shown"),
        pytest.param("I cannot help with that.", True, True, id="refused"),
    ],
)
def test_what_the_passages_do_not_hold_is_no_refusal(answer: str, shown: bool, refused: bool) -> None:
    """Who says so of what it was shown does what it was told."""
    assert refuses(answer, words=100, shown=shown) == refused


def test_a_refusal_is_worth_little_and_not_sure() -> None:
    """Nothing says whether it was right, so that it moves a score less than a certain reward, and is told."""
    rules = Rules()
    found = combined([rules.opinion(case(REFUSED))], [1.0])
    assert found.quality == 0.33
    assert found.refused
    assert found.uncertainty == pytest.approx(0.1 * found.reward / found.quality)
    assert explain(found).endswith("; taken for a refusal")
    assert any("nothing says whether the refusal is right: 0.33 at most" in line for line in found.evidence)
    other = Rules(refusals=Refusals(quality=0.6, uncertainty=0.0)).opinion(case(REFUSED))
    assert (other.quality, other.uncertainty) == (0.6, 0.0)
    generous = Rules(checks=CheckWeights(refusal=0)).opinion(case(REFUSED))
    assert (generous.quality, generous.uncertainty) == (1.0, 0.0)


def test_where_the_task_says_what_it_expects_that_decides() -> None:
    """A refusal that is expected is worth more, and one that is not is worth nothing; both are certain."""
    for words, quality in (("cannot help", 3 / 4), ("fee", 0.0)):
        task = Task("t", "x", expect=Expect(contains=(words,)))
        found = Rules().opinion(case(REFUSED, task))
        assert found.quality == pytest.approx(quality)
        assert found.uncertainty == 0.0


def test_who_refuses_everything_is_soon_believed_to_be_worse_than_who_answers_half() -> None:
    """Ten refusals bring 0.8 below 0.5; the score ends where the rules put a refusal, and not at two thirds."""
    sensed, rules, score = Sensed(0.1, {"refunds": 1.0}), Rules(), Score(0.8)
    evaluated = combined([rules.opinion(case(REFUSED))], [1.0])
    for _ in range(10):
        standing = Standing("ada", "ada-1", {"refunds": score}, score, 0, frozenset())
        (move,) = Ema().decide(sensed, REFUSED, evaluated, standing)
        score = msgspec.structs.replace(score, mean=move.after, variance=move.variance, count=move.count)
    assert 0.33 < score.mean < 0.5
