"""Are facts of a long conversation recalled at its end? 60 facts in 500 turns, a window of 8,000 tokens.

    python benchmarks/memory/run.py [--json FILE] [--misses]

Each turn is remembered as a task of a session would be, with the embedder `wordllama`; then each fact is asked for in
other words. A fact is recalled when it is among the five texts that the memory returns. Facts whose turn still is in
the window would be seen anyway: they are counted apart. The same conversation goes through the memory of loom-agent in
an environment of its own; without one that is skipped:

    python -m venv benchmarks/memory/.venv
    benchmarks/memory/.venv/bin/pip install -r benchmarks/memory/requirements.txt

What is measured is the memory, not a model: whether the fact gets into the prompt, not what is made of it there.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from loomd.manifest.object import Ref
from loomd.memory.item import Turn, Whose
from loomd.memory.window import fit_window
from loomd.messages import Message
from loomd.testing import open_spec

sys.path.insert(0, str(Path(__file__).resolve().parent))
from talk import TURNS, Planted, conversation  # beside this file

HERE = Path(__file__).resolve().parent
PYTHON = Path(os.environ.get("MEMORY_PEERS", HERE / ".venv" / "bin" / "python"))
WINDOW = 8000
MOST = 5
PART = 100
"""Turns of a part of the conversation, for which recall is told apart."""
_WORD = re.compile(r"\w{3,}")
Asked = tuple[int, bool, int]
"""The turn in which a fact was told, whether that is in the window, and at which place it was recalled; 0 for not."""
Row = tuple[Planted, bool, int]
"""A fact, whether its turn is in the window, and at which place it was recalled, from 1; 0 for not at all."""


async def ours(*, embedder: bool = True, hard: bool = False, least: float = 0.3) -> tuple[list[Row], float, float]:
    """Return the facts as recalled, and seconds for a turn and for a question."""
    turns, planted = conversation()
    spec = {"recall": {"enabled": True, "topK": MOST, "threshold": least}, "window": {"tokens": WINDOW}}
    whose = Whose("ada", "acme", "ann", "s1", f"t{TURNS}")
    with tempfile.TemporaryDirectory() as folder:
        async with open_spec("Embedder", {"type": "wordllama"}, Path(folder) / "words") as words:
            live = {Ref("Embedder", "words"): words} if embedder else {}
            if embedder:
                spec["recall"] = {**spec["recall"], "embedder": "words"}
            async with open_spec("Memory", spec, Path(folder), live=live) as memory:
                start = time.perf_counter()
                for number, (said, answer) in enumerate(turns, 1):
                    step = "step/execute/model/0"
                    turn = Turn(f"t{number}", said, answer, step, 1_700_000_000.0 + 60 * number)
                    await memory.remember(whose, turn)
                told = (time.perf_counter() - start) / len(turns)
                start = time.perf_counter()
                found = [await memory.recall(whose, one.hard if hard else one.ask) for one in planted]
                asked = (time.perf_counter() - start) / len(planted)
    shown = in_window(turns)
    rows = [(one, one.fact in shown, _place(texts, one.fact)) for one, texts in zip(planted, found, strict=True)]
    return rows, told, asked


def in_window(turns: list[tuple[str, str]]) -> set[str]:
    """Return what was said in the turns that still are in the window."""
    talk = [message for said, answer in turns for message in (Message("user", said), Message("assistant", answer))]
    kept = fit_window((*talk, Message("user", "?")), WINDOW, len(talk))
    return {message.text for message in kept}


def theirs() -> dict[str, list[Asked]] | None:
    """Return for each way of asking loom-agent what became of each fact; None without."""
    if not PYTHON.exists():
        return None
    done = subprocess.run(  # our own file
        [PYTHON, HERE / "peer.py"], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}
    )
    rows = json.loads(done.stdout)
    return {way: [(row["turn"], row["shown"], row["places"][way]) for row in rows] for way in rows[0]["places"]}


def overlap(planted: list[Planted], *, hard: bool) -> float:
    """Return the mean share of a question's words that its fact holds, by their first five letters."""
    asked = [_stems(one.hard if hard else one.ask) for one in planted]
    return sum(len(words & _stems(one.fact)) / len(words) for words, one in zip(asked, planted, strict=True)) / len(
        asked
    )


def _stems(text: str) -> set[str]:
    return {word[:5] for word in _WORD.findall(text.lower())}


def _place(texts: list[str], fact: str) -> int:
    return next((at for at, text in enumerate(texts, 1) if fact in text), 0)


def _asked(rows: list[Row]) -> list[Asked]:
    return [(one.turn, shown, place) for one, shown, place in rows]


def _tell(name: str, rows: list[Asked]) -> dict[str, float]:
    """Print how many facts were recalled, and return the shares."""
    left = [place for _, shown, place in rows if not shown]
    figures = {
        "recall@5": sum(place > 0 for _, _, place in rows) / len(rows),
        "recall@5 of those that left the window": sum(place > 0 for place in left) / len(left),
        "recall@1": sum(place == 1 for _, _, place in rows) / len(rows),
        "recalled or in the window": sum(place > 0 or shown for _, shown, place in rows) / len(rows),
    }
    for first in range(1, TURNS + 1, PART):
        part = [place > 0 for turn, _, place in rows if first <= turn < first + PART]
        figures[f"recall@5 of turns {first} to {first + PART - 1}"] = sum(part) / len(part)
    print(name)
    for what, share in figures.items():
        print(f"    {what:42} {share:.3f}")
    return figures


def main() -> None:
    """Measure all sides in one run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="the same: it is quick")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--misses", action="store_true", help="print the facts that were not recalled")
    options = parser.parse_args()
    rows, told, asked = asyncio.run(ours())
    planted = [one for one, _, _ in rows]
    shares = overlap(planted, hard=False), overlap(planted, hard=True)
    print(f"{len(planted)} facts in {TURNS} turns; questions share {shares[0]:.0%} of their words with the facts,")
    print(f"those that are said to be hard {shares[1]:.0%}\n")
    figures = {f"loomd, {key}": value for key, value in _tell("loomd", _asked(rows)).items()}
    figures["loomd, missed"] = 1.0 - figures["loomd, recall@5"]
    figures |= {"loomd, ms for a turn": told * 1e3, "loomd, ms for a question": asked * 1e3}
    print(f"    {told * 1e3:.1f} ms for a turn, {asked * 1e3:.1f} ms for a question")
    cases = {
        "loomd, hard": {"hard": True},
        "loomd, hard, threshold 0.1": {"hard": True, "least": 0.1},
        "loomd without an embedder": {"embedder": False},
    }
    for name, how in cases.items():
        others, _, _ = asyncio.run(ours(**how))
        figures |= {f"{name}, {key}": value for key, value in _tell(name, _asked(others)).items()}
    if (peer := theirs()) is None:
        print(f"loom-agent is skipped: no {PYTHON}")
    for way, places in (peer or {}).items():
        figures |= {f"loom-agent {way}, {key}": value for key, value in _tell(f"loom-agent, {way}", places).items()}
    if options.misses:
        for one, _, place in rows:
            if not place:
                print(f"turn {one.turn}: {one.fact} / {one.ask}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
