"""A made collection of questions that need several documents, and of plain ones: what a graph of entities is for.

    python benchmarks/retrieval/hops.py FOLDER [--seed 7]

Writes an encyclopedia of a country that does not exist in the form of BEIR, for `quality.py`: articles about people,
companies, towns, products and institutes that name each other, each in one of several wordings, with paragraphs that
answer nothing. Four kinds of questions, told apart by the beginning of their ids: `one` needs one article, `two` needs
that of whom the first one names, `three` one further, and `both` those of two things that have one in common. Judged
relevant is every article that has a fact which is needed. That of `one` is what `quality.py` calls plain.
"""

import argparse
import json
import random
from dataclasses import dataclass
from pathlib import Path

SYLLABLES = "bren tarn osk vel mar lenn dor hal quen fir ost wick mel tor sab rin kel ash vor lim pel gar dun els"
FIRST = "Ilse Piet Mara Anton Greta Jonas Lena Otto Vera Karl Nora Emil Tilda Bruno Clara Hugo Ida Felix Edda Rasmus"
TRADES = ["engineer", "chemist", "surveyor", "clockmaker", "botanist", "physicist", "architect", "printer"]
GOODS = ["tide gauges", "field telephones", "sewing machines", "bicycle lamps", "paper presses", "barometers", "kilns"]
KNOWN_FOR = ["its glass market", "its wooden bridges", "a school of weavers", "its salt works", "its autumn fair"]
FILLER = [
    "Much of what is known comes from letters that were found later.",
    "The years after the flood were hard, and records of that time are few.",
    "Visitors of the last century wrote about it with some surprise.",
    "A small exhibition in the capital showed drawings, tools and photographs.",
    "Newspapers reported on it several times, not always kindly.",
    "The archive was moved twice and has been open to the public since then.",
    "There were plans for an enlargement, which were given up for want of money.",
    "Older descriptions differ in many details and should be read with care.",
]


@dataclass(frozen=True)
class Question:
    """A question with the articles that it needs."""

    ident: str
    text: str
    needs: tuple[str, ...]


class World:
    """Things that name each other, drawn by chance."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.taken: set[str] = set()
        self.articles: dict[str, tuple[str, str]] = {}
        self.questions: list[Question] = []
        draw = self.draw
        self.towns = [self.word() for _ in range(80)]
        self.rivers = {town: f"{self.word()}" for town in self.towns}
        self.institutes = [f"{self.word()} {draw.choice(('Institute', 'Academy', 'College'))}" for _ in range(40)]
        self.seat = {one: draw.choice(self.towns) for one in self.institutes}
        self.people = [f"{draw.choice(FIRST.split())} {self.word()}" for _ in range(320)]
        self.born = {one: draw.choice(self.towns) for one in self.people}
        self.studied = {one: draw.choice(self.institutes) for one in self.people}
        self.companies = [
            f"{self.word()} {draw.choice(('Works', 'Brothers', 'Company', 'Systems'))}" for _ in range(120)
        ]
        self.founder = dict(zip(self.companies, draw.sample(self.people, len(self.companies)), strict=True))
        self.office = {one: draw.choice(self.towns) for one in self.companies}
        self.products = [f"{self.word()} {draw.randint(2, 90)}" for _ in range(160)]
        self.maker = {one: draw.choice(self.companies) for one in self.products}
        self.write()
        self.ask()

    def word(self) -> str:
        """Return a name that no other thing has."""
        while True:
            name = "".join(self.draw.sample(SYLLABLES.split(), self.draw.choice((2, 2, 3)))).capitalize()
            if name not in self.taken:
                self.taken.add(name)
                return name

    def put(self, name: str, facts: list[str]) -> None:
        """Write an article: what it is first, the other facts among sentences that say nothing."""
        rest = facts[1:] + self.draw.sample(FILLER, 4)
        self.draw.shuffle(rest)
        half = len(rest) // 2
        self.articles[name] = (name, "\n\n".join((" ".join([facts[0], *rest[:half]]), " ".join(rest[half:]))))

    def write(self) -> None:
        """Write all articles."""
        say = self.draw.choice
        for one in self.towns:
            lies = say(("lies on the river {}", "stands where the {} turns south", "was built on both banks of the {}"))
            self.put(one, [f"{one} {lies.format(self.rivers[one])}.", f"The town is known for {say(KNOWN_FOR)}."])
        for one in self.institutes:
            seat = say(("has its buildings in {}", "teaches in {}", "was moved to {} early on")).format(self.seat[one])
            self.put(one, [f"The {one} {seat}.", f"Most of its students become {say(TRADES)}s."])
        for one in self.people:
            last = one.split()[1]
            born = say(("{} was born in {}.", "{} grew up in {}, where the family had a shop.", "{} came from {}."))
            studied = say(("{} studied at the {}.", "{} learned the trade at the {}.", "{} was a student of the {}."))
            facts = [f"{one} was {say(('a', 'a well-known', 'a self-taught'))} {say(TRADES)}."]
            facts += [born.format(last, self.born[one]), studied.format(last, self.studied[one])]
            self.put(one, facts)
        for one in self.companies:
            founded = say(("{} set it up.", "It was founded by {}.", "It was the work of {}, who began with a helper."))
            office = say(("Its head office is in {}.", "It is run from {}.", "The company sits in {}."))
            facts = [f"{one} makes {say(GOODS)}.", founded.format(self.founder[one]), office.format(self.office[one])]
            self.put(one, facts)
        for one in self.products:
            made = say(("is made by {}", "comes from the workshops of {}", "was brought out by {}"))
            self.put(one, [f"The {one} {made.format(self.maker[one])}.", f"It was sold with {say(GOODS)}."])

    def ask(self) -> None:
        """Ask of everything."""
        for at, one in enumerate(self.draw.sample(self.companies, 40)):
            self.add("one", at, f"Who founded {one}?", one)
        for at, one in enumerate(self.draw.sample(self.people, 40), 40):
            self.add("one", at, f"Where was {one} born?", one)
        for at, one in enumerate(self.draw.sample(self.companies, 40)):
            who = self.founder[one]
            self.add("two", at, f"In which town was the founder of {one} born?", one, who)
        for at, one in enumerate(self.draw.sample(self.products, 40), 40):
            self.add("two", at, f"Who founded the company that makes the {one}?", one, self.maker[one])
        for at, one in enumerate(self.draw.sample(self.companies, 40)):
            who = self.founder[one]
            text = f"On which river lies the town where the founder of {one} was born?"
            self.add("three", at, text, one, who, self.born[who])
        for at, one in enumerate(self.draw.sample(self.products, 40), 40):
            who = self.founder[self.maker[one]]
            text = f"At which institute did the founder of the company behind the {one} study?"
            self.add("three", at, text, one, self.maker[one], who)
        for at in range(60):
            one, other = self.draw.sample(self.companies, 2)
            text = f"Were the founders of {one} and of {other} born in the same town?"
            self.add("both", at, text, one, other, self.founder[one], self.founder[other])

    def add(self, kind: str, number: int, text: str, *needs: str) -> None:
        """Note a question."""
        self.questions.append(Question(f"{kind}-{number}", text, tuple(dict.fromkeys(needs))))


def write(world: World, folder: Path) -> None:
    """Write a collection as BEIR does."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    rows = [{"_id": ident, "title": title, "text": text} for ident, (title, text) in world.articles.items()]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    asked = [{"_id": one.ident, "text": one.text} for one in world.questions]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked), "utf-8")
    judged = [f"{one.ident}\t{need}\t1\n" for one in world.questions for need in one.needs]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judged), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    write(World(given.seed), given.folder)


if __name__ == "__main__":
    main()
