"""How much is lost by asking the wrong agent: regret over 2,000 tasks of players that know no skill at first.

The world and the players are defined in `world.py` and `players.py`. A curve is the regret added up, mean over worlds.
"""

import argparse
import itertools
import json
import os
import subprocess
from pathlib import Path

from benchmarks.adaptivity.players import PLAYERS
from benchmarks.adaptivity.world import TASKS, play, world_of

ROOT = Path(__file__).resolve().parents[2]
POINTS = 40


def curves(seeds: int, peer: str = "", *, coins: bool = False) -> dict[str, list[float]]:
    """Return the regret after each task, added up, by player; the mean over `seeds` worlds.

    Args:
        seeds: how many worlds are played.
        peer: the interpreter of an environment with loom-agent; without one it does not play.
        coins: whether a reward is a coin.
    """
    found: dict[str, list[float]] = {}
    for name, made in PLAYERS.items():
        worlds = enumerate(map(world_of, range(seeds)))
        runs = [list(play(world, made(seed, world), coins=coins)) for seed, world in worlds]
        found[name] = [sum(column) / seeds for column in zip(*runs, strict=True)]
    if peer:
        command = [peer, "-m", "benchmarks.adaptivity.peer", str(seeds), str(TASKS)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True)
        found |= json.loads(done.stdout)
    return {name: list(itertools.accumulate(each)) for name, each in found.items()}


def measure(seeds: int, peer: str = "") -> dict[str, float]:
    """Return the regret of each player after all tasks, and what the goals are about."""
    played = curves(seeds, peer)
    ends = {name: curve[-1] for name, curve in played.items()}
    found = {f"regret, {name}": end for name, end in ends.items()}
    found["regret, loomd over greedy EMA"] = ends["loomd"] / ends["greedy EMA"]
    found["regret, loomd over Thompson"] = ends["loomd"] / ends["Thompson"]
    if peer:
        found["regret, loomd over loom-agent"] = ends["loomd"] / ends["loom-agent 0.6.5"]
    noisy = curves(seeds, coins=True)
    found |= {f"regret with coins, {name}": curve[-1] for name, curve in noisy.items()}
    for name, curve in played.items():
        for at in range(POINTS):
            number = (at + 1) * TASKS // POINTS
            found[f"regret at {number}, {name}"] = curve[number - 1]
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("worlds", type=int, help="how many worlds are played, 40 in the figures")
    parser.add_argument("peer", nargs="?", default="", help="interpreter of an environment with loom-agent")
    given = parser.parse_args()
    for key, value in measure(given.worlds, given.peer).items():
        if " at " not in key:
            print(f"{key:40}{value:9.2f}")
