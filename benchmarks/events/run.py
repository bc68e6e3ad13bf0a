"""What an event costs: emitted by a task, with none, one, ten and a hundred that hear it, beside the seed's bus.

    python benchmarks/events/run.py [--quick] [--json FILE]

CPU nanoseconds per event on one core, the least of several rounds. An event is a piece of a model's text in the
envelope of its task, which is not journaled (`benchmarks/journal` measures what is). `typed` is ten subscribers of
which one hears this type; `task` ten that hear a task each, and this event is of a part of one. The bus of the seed,
loom-agent, runs in an environment of its own, and is skipped where there is none:

    python -m venv benchmarks/events/.venv
    benchmarks/events/.venv/bin/pip install -r benchmarks/events/requirements.txt
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from loomd.clock import SystemClock
from loomd.events.bus import Bus, Scope
from loomd.events.event import Event, ModelDelta

HERE = Path(__file__).resolve().parent
PYTHON = Path(os.environ.get("EVENTS_PEERS", HERE / ".venv" / "bin" / "python"))
NUMBERS = (0, 1, 10, 100)
TEN = 10


class Counter:
    """Counts what it hears."""

    def __init__(self) -> None:
        self.heard = 0

    def hear(self, event: Event) -> None:
        """Count an event."""
        del event
        self.heard += 1


def everything(number: int) -> Callable[[Bus, Counter], int]:
    """Return what subscribes so many to everything, and how often an event is heard then."""

    def subscribe(bus: Bus, counter: Counter) -> int:
        for _ in range(number):
            bus.subscribe(counter.hear)
        return number

    return subscribe


def typed(bus: Bus, counter: Counter) -> int:
    """Subscribe ten to patterns; one of them fits."""
    bus.subscribe(counter.hear, "model.*")
    for _ in range(TEN - 1):
        bus.subscribe(counter.hear, "tool.*", "task.*")
    return 1


def tasks(bus: Bus, counter: Counter) -> int:
    """Subscribe ten to a task each; one of them is the one that the event's task is a part of."""
    for number in range(TEN):
        bus.subscribe(counter.hear, task=f"t{number}")
    return 1


def measure(events: int, subscribe: Callable[[Bus, Counter], int]) -> float:
    """Return CPU nanoseconds per event."""
    bus, counter, fact = Bus(SystemClock()), Counter(), ModelDelta("x")
    times, scope = subscribe(bus, counter), Scope(bus, "t1.2", "t1")
    before = time.process_time()
    for _ in range(events):
        scope.emit(fact, "ada")
    took = time.process_time() - before
    assert counter.heard == events * times
    return took / events * 1e9


def seed(events: int, rounds: int) -> dict[int, float]:
    """Return CPU nanoseconds per event of the seed's bus by the number of subscribers; nothing where it is not."""
    if not PYTHON.exists():
        print("skipped loom-agent: install benchmarks/events/requirements.txt into benchmarks/events/.venv")
        return {}
    command = [str(PYTHON), str(HERE / "peer.py"), str(events), str(rounds), *map(str, NUMBERS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {int(number): took for number, took in json.loads(done.stdout.splitlines()[-1]).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    events, rounds = (20_000, 3) if given.quick else (100_000, 7)
    sides: dict[str, Callable[[Bus, Counter], int]] = {
        **{f"{number} subscribers": everything(number) for number in NUMBERS},
        "typed": typed,
        "task": tasks,
    }
    best = {name: min(measure(events, side) for _ in range(rounds)) for name, side in sides.items()}
    figures = {f"{name}, cpu ns": took for name, took in best.items()}
    peers = seed(events, rounds)
    for number, took in peers.items():
        figures[f"seed, {number} subscribers, cpu ns"] = took
        figures[f"{number} subscribers, cpu x seed"] = best[f"{number} subscribers"] / took
    for name, took in best.items():
        print(f"{name:20} {took:>9,.0f} ns CPU/event {1e9 / took:>12,.0f} events/s")
    for number, took in peers.items():
        ratio = best[f"{number} subscribers"] / took
        print(f"{f'seed, {number}':20} {took:>9,.0f} ns CPU/event {1e9 / took:>12,.0f} events/s  (loomd: {ratio:.2f}x)")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
