"""loom-agent plays: its own auction (`ClusterManager`) and its own learning (`RewardBus`), in its own environment.

    PYTHON -m benchmarks.adaptivity.peer SEEDS [TASKS]

Prints the regret of each task by player, mean over the seeds, as JSON; without TASKS what `turn.py` measures. Its rule
knows success or failure only: a reward above 0.5 is a success. `loom-agent, graded` hands the reward itself to its
moving average, as a judge of its would.
"""

import json
import sys

from loom.cluster import ClusterManager
from loom.cluster.reward import RewardBus
from loom.types import AgentNode, CapabilityProfile, TaskAd

from benchmarks.adaptivity.turn import measure
from benchmarks.adaptivity.world import AGENTS, DOMAINS, PRIOR, play, world_of


class LoomAgent:
    """Nodes that are always idle."""

    def __init__(self, graded: bool) -> None:
        self._graded, self._manager, self._bus = graded, ClusterManager(), RewardBus()
        scores = {f"domain-{domain}": PRIOR for domain in range(DOMAINS)}
        for at in range(AGENTS):
            self._manager.add_node(AgentNode(id=str(at), capabilities=CapabilityProfile(scores=dict(scores))))

    def choose(self, number: int, domain: int) -> int:
        winner = self._manager.select_winner(TaskAd(domain=f"domain-{domain}", description="x"))
        if winner is None:
            raise RuntimeError("nobody won")
        return int(winner.id)

    def learn(self, number: int, domain: int, agent: int, reward: float) -> None:
        node = self._manager.get_node(str(agent))
        if self._graded:
            self._bus._update_capability(node, f"domain-{domain}", reward)
        else:
            self._bus.evaluate(node, TaskAd(domain=f"domain-{domain}", description="x"), reward > 0.5)


def main() -> None:
    seeds = int(sys.argv[1])
    if len(sys.argv) == 2:
        print(json.dumps(measure(seeds, {"loom-agent 0.6.5": lambda seed, world: LoomAgent(graded=False)})))
        return
    tasks, found = int(sys.argv[2]), {}
    for name, graded in (("loom-agent 0.6.5", False), ("loom-agent 0.6.5, graded", True)):
        runs = [list(play(world_of(seed, tasks), LoomAgent(graded))) for seed in range(seeds)]
        found[name] = [sum(column) / seeds for column in zip(*runs, strict=True)]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
