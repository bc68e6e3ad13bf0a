"""A conversation of 500 turns in which facts are planted among distractors, made alike every time.

Facts and their questions stand in `facts.jsonl`, written by hand: `ask` is what somebody would ask who does not
remember the sentence, `hard` the same in words that the fact does not have. None was changed after it was measured. All
else is made of patterns: what is told of other people and things in the same words as the facts (the same predicates,
other subjects), and long answers about work. Standard library only: peers read it in environments of their own.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TURNS = 500
_PEOPLE = (
    *("Alma", "Boris", "Celine", "Dmitri", "Edda", "Farid", "Gwen", "Hugo", "Iris"),
    *("Jonas", "Kofi", "Lena", "Mateo", "Nils", "Olga", "Petra", "Quinn", "Rosa"),
)
_PLACES = (
    *("Oslo", "Turin", "Ghent", "Porto", "Krakow", "Malaga"),
    *("Bremen", "Tartu", "Utrecht", "Zagreb", "Aarhus", "Leeds"),
)
_MONTHS = ("January", "March", "April", "July", "August", "September", "December")
_THINGS = ("the bicycle", "the ladder", "the drill", "the tripod", "the projector", "the canoe", "the sewing machine")
_NEAR = (
    "My colleague {person} is allergic to {food}.",
    "{person} picked {database} for the search service.",
    "The code for {room} is {number}.",
    "{person} moved the meeting about taxes to {day} {month}.",
    "The owner of the bakery is called {person}.",
    "{person} left {thing} in the blue car.",
    "The parrot only eats {food} since last winter.",
    "{person} decided to open the shop on {day} {month}.",
    "{person} was born in {place} in 19{day}.",
    "The lift has to be inspected every {month}.",
    "{person} plays the trumpet in a band from {place}.",
    "The password of the printer in {place} is maple{number}.",
    "{person} agreed to pay the gardener {number} euros.",
    "{person} is writing an article about volcanoes near {place}.",
    "{thing} lies under the stairs.",
    "The team of {person} switched from Slack to email in {month}.",
    "The concert in {place} begins on {day} {month}.",
    "{person} promised me {thing} for the weekend.",
    "The flight of {person} to {place} leaves from gate {day}.",
    "The soup needs {number} grams of {food}.",
    "The office of {person} is on the fourth floor.",
    "{person} quit the gym {day} weeks ago.",
    "The book club meets in the library on {day} {month}.",
    "The horse is afraid of umbrellas.",
    "The supplier from {place} prefers payment in dollars.",
    "{person} keeps {thing} in the cellar behind the boxes.",
    "{person} speaks Danish and some Greek.",
    "{person} chose marble for the bathroom floor.",
    "The hotel of {person} in {place} is near the station.",
    "{person} will leave the marketing department in {month}.",
    "The report job runs at {day} minutes past six.",
    "The ticket for the ferry to {place} costs {number} crowns.",
    "The contract with {person} begins in {month}.",
    "The bus to {place} takes {day} minutes.",
    "{person} broke a finger while climbing near {place}.",
    "The upload limit is {number} files per day.",
    "{person} drinks tea with {food}.",
    "The fence was painted by {person}.",
)
_SMALL = (
    "Tell me something about {topic}.",
    "How would you explain {topic} to a child?",
    "What do you think of {topic}?",
    "Could you compare {topic} with how it was done ten years ago?",
    "Summarise {topic} for me, please.",
)
_TOPICS = ("unit tests", "the weather", "gothic churches", "remote work", "tides", "jazz", "spreadsheets", "sourdough")
_LONG = (
    "There are several ways to look at {topic}, and each has its merits.",
    "Many people begin with the simplest thing that could work and refine it later.",
    "In practice {topic} depends on patience more than on talent.",
    "A good rule of thumb is to write down what you expect before you look.",
    "Some experts disagree, and the evidence of the last {day} years is mixed.",
    "If you want to go deeper, a library near {place} has a fine collection on {topic}.",
    "It helps to talk about {topic} with somebody who has seen it fail.",
    "The costs are often underestimated, sometimes by {day} percent.",
    "Once the basics are clear, {topic} becomes easier to teach than to do.",
    "Let me know if you would like an example from {place}.",
)


@dataclass(frozen=True)
class Planted:
    """A fact, the turn at which it is told (from 1), a question for it, and one that shares hardly a word with it."""

    turn: int
    fact: str
    ask: str
    hard: str


def conversation() -> tuple[list[tuple[str, str]], list[Planted]]:
    """Return what is said and answered in each turn, and which facts are in it."""
    draw = random.Random(500)
    pairs = [json.loads(line) for line in (HERE / "facts.jsonl").read_text().splitlines()]
    draw.shuffle(pairs)
    step = (TURNS - 1) / (len(pairs) - 1)
    planted = [Planted(1 + round(step * at), one["fact"], one["ask"], one["hard"]) for at, one in enumerate(pairs)]
    facts = {one.turn: one.fact for one in planted}
    near = iter(draw.sample([one for one in _NEAR for _ in range(6)], 6 * len(_NEAR)))
    turns: list[tuple[str, str]] = []
    for number in range(1, TURNS + 1):
        answer = _filled(" ".join(draw.sample(_LONG, 4)), draw)
        if number in facts:
            said = facts[number]
        elif draw.random() < 0.5 and (pattern := next(near, None)) is not None:
            said = _filled(pattern, draw)
        else:
            said = _filled(draw.choice(_SMALL), draw)
        turns.append((said, answer))
    return turns, planted


def _filled(pattern: str, draw: random.Random) -> str:
    thing = draw.choice(_THINGS)
    text = pattern.format(
        person=draw.choice(_PEOPLE),
        place=draw.choice(_PLACES),
        month=draw.choice(_MONTHS),
        thing=thing,
        topic=draw.choice(_TOPICS),
        food=draw.choice(("celery", "honey", "mustard", "walnuts", "ginger", "lentils")),
        database=draw.choice(("MySQL", "Redis", "SQLite", "Mongo")),
        room=draw.choice(("the bike shed", "the wine cellar", "the laundry", "the front gate", "the archive")),
        number=draw.randint(100, 9999),
        day=draw.randint(10, 28),
    )
    return text[0].upper() + text[1:]
