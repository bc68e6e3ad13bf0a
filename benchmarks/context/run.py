"""What a prompt holds and what putting it together costs.

    python benchmarks/context/run.py [--quick] [--json FILE]

`assemble` puts together a prompt of more than 32,000 tokens from memory, results, passages and earlier turns; CPU each.

`workload` is made: three agents, each of whose answers comes mostly from one source, get three sources that offer
together more than the window holds. An answer needs four facts; each is one text of a source, likelier among the first
of it. The model is honest and simple: it repeats what it needs and finds in its prompt, and nothing else. Told is the
share of the facts that the last half of the tasks had in their answers, with shares that stay equal and with shares
that follow what answers used. Both see the same tasks.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

from loomd.accounts.averages import Averages
from loomd.agents.agent import Agent
from loomd.agents.budget import Limits
from loomd.agents.context import assemble
from loomd.agents.loop import Loop
from loomd.agents.skills import SkillUse
from loomd.agents.sources import ContextSpec, Shares
from loomd.agents.work import Citation, Work
from loomd.clock import SystemClock
from loomd.events.bus import Bus, Scope
from loomd.knowledge.standing import Found
from loomd.memory.item import Item
from loomd.messages import Chunk, Message, Passage, Reply, Request, Usage
from loomd.testing import Unrecorded

WORDS = [
    f"{a}{b}{c}" for a in ("bra", "clo", "dre", "flu", "gri", "plo") for b in "aeiou" for c in ("m", "nt", "rk", "st")
]
EQUAL = Shares(skills=1, memory=1, findings=1, knowledge=1, history=0.1)
SOURCES = ("memory", "findings", "knowledge")
HABITS = {"reader": (0.1, 0.1, 0.8), "rememberer": (0.8, 0.1, 0.1), "builder": (0.1, 0.8, 0.1)}
ITEMS, LENGTH, NEEDED = 12, 60, 4


class Finding:
    """A result that work builds on."""

    citations: tuple[Citation, ...] = ()
    file = False

    def __init__(self, goal: str, output: str) -> None:
        self.goal, self.output = goal, output


class Desk:
    """Memory and knowledge base of an agent: they offer what the task says, and nothing else."""

    name, scope, lacks = "desk", "agent", ""
    recalls, seeds, refines = True, False, False
    summarizer, patience, reminder, boost = None, 1.0, 0, 0.0

    def __init__(self) -> None:
        self.memory: list[str] = []
        self.passages: list[Passage] = []

    def fit(self, messages: tuple[Message, ...], goal: int = 1) -> tuple[Message, ...]:
        del goal
        return messages

    async def recall(self, *asked: object, **how: object) -> list[str]:
        del asked, how
        return self.memory

    async def remember(self, *said: object, **how: object) -> list[str]:
        del said, how
        return []

    async def seed(self, *asked: object) -> list[str]:
        del asked
        return []

    async def crowded(self, *asked: object) -> list[Item]:
        del asked
        return []

    async def condense(self, *said: object) -> list[Item]:
        del said
        return []

    async def search(self, query: str, top_k: int | None = None) -> list[Passage]:
        del query, top_k
        return self.passages

    async def look(self, query: str, **how: object) -> Found:
        del how
        return Found(tuple(await self.search(query)))


class Repeater:
    """A model that repeats those texts that it needs and finds in its prompt, and cites the passages among them."""

    name = "made/repeater"

    def __init__(self) -> None:
        self.needed: list[str] = []

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        asked = "\n".join(message.text for message in request.messages)
        said = [text for text in self.needed if text in asked]
        shown = [p for message in request.messages for p in message.passages if p.text in self.needed]
        answer = "\n".join([*said, *(f"{one.text} [{one.number}]" for one in shown)])
        yield Reply(answer or "Nothing.", usage=Usage(100, 10))


def agent(name: str, model: object, desk: Desk, spec: ContextSpec) -> Agent:
    plain = Agent(name, "default", "d", "", {}, model, "You are {{ agent }}.", Limits(tokens=10**9), SystemClock())  # type: ignore[arg-type]
    return replace(plain, context=spec, max_tokens=10, memory=desk, knowledge=(desk,), averages=Averages())


def text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) + str(rng.randrange(1000)) for _ in range(words))


async def workload(tasks: int, seed: int) -> dict[str, float]:
    """Return the share of facts in the answers of the last half of the tasks, by mode."""
    found: dict[str, float] = {}
    for mode in ("fixed", "adaptive"):
        kept = needed = 0
        for name, habit in HABITS.items():
            rng, desk, model = random.Random(f"{seed} {name}"), Desk(), Repeater()
            spec = ContextSpec(tokens=2600, mode=mode, shares=EQUAL)  # type: ignore[arg-type]  # one of both
            working = agent(name, model, desk, spec)
            for number in range(tasks):
                offers = {source: [text(rng, LENGTH) for _ in range(ITEMS)] for source in SOURCES}
                model.needed = []
                for source in rng.choices(SOURCES, habit, k=NEEDED):
                    model.needed.append(offers[source][min(int(rng.expovariate(0.25)), ITEMS - 1)])
                desk.memory = offers["memory"]
                desk.passages = [
                    Passage(at, one, f"{at}.md", "T", "desk") for at, one in enumerate(offers["knowledge"], 1)
                ]
                results = tuple(Finding("g", one) for one in offers["findings"])
                work = Work("Answer.", "work", findings=results)
                outcome = await Loop(working, work, Unrecorded(), Scope(Bus(SystemClock()), "t")).run()
                if number >= tasks // 2:
                    kept += sum(one in outcome.output for one in set(model.needed))
                    needed += len(set(model.needed))
        found[f"facts in answers, {mode} shares"] = kept / needed
    return found


async def assembling(rounds: int) -> dict[str, float]:
    """Return what it costs to put a prompt of 32,000 tokens together."""
    rng, desk = random.Random(1), Desk()
    desk.memory = [text(rng, 100) for _ in range(20)]
    desk.passages = [Passage(at, text(rng, 150), f"{at}.md", "A title", "desk") for at in range(1, 31)]
    results = tuple(Finding("A part of it", text(rng, 400)) for _ in range(6))
    history = tuple(
        Message(
            "assistant" if at % 2 else "user",
            text(rng, 200),
        )
        for at in range(40)
    )
    spec = ContextSpec(tokens=60_000)
    working = agent("ada", Repeater(), desk, spec)
    work = Work("Answer the question.", "work", findings=results, history=history)
    scope, took, tokens = Scope(Bus(SystemClock()), "t"), [], 0
    for _ in range(rounds):
        steps = Unrecorded()
        skills = SkillUse(working, work.key, steps, scope)
        before = time.process_time()
        context = await assemble(working, work, steps, scope, skills)
        took.append((time.process_time() - before) * 1000)
        tokens = context.measure.tokens(context.characters, len(context.messages))
    return {"assemble, tokens": float(tokens), "assemble, cpu ms": min(took)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    figures = asyncio.run(assembling(5 if given.quick else 50))
    figures |= asyncio.run(workload(40 if given.quick else 200, seed=2))
    for name, value in figures.items():
        print(f"{name:44} {value:12.3f}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
