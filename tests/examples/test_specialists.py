"""16-specialists, offline: agents that declare the same become specialists, and the record says why."""

from pathlib import Path

from loomd.daemon import Settings, open_system
from loomd.engine.intake import new_task
from loomd.manifest.delivery import Delivery
from loomd.manifest.source import SourceFile, read_folder
from tests.examples.test_examples import EXAMPLES, SCRIPTED, WORDS

GOALS = {
    "gardening": "Which vegetables does a beginner plant while gardening in spring?",
    "cooking": "How long does cooking a tomato soup take?",
    "banking": "What does banking call the money that a loan costs?",
}
SPECIALIST = {"gardening": "ann", "cooking": "ben", "banking": "eve"}
ANSWERS = "".join(
    f'    - {{system: "about {domain} in", when: "{goal}", text: "It is well known how {domain} goes.", times: null}}\n'
    for domain, goal in GOALS.items()
)
REPLIES = ANSWERS + '    - {text: "I cannot help with that.", times: null}\n'


async def test_specialists_emerge(tmp_path: Path) -> None:
    """Of the first tasks others win some; of the last ten of each domain the one who can do it wins nine or more."""
    folder = next(path for path in EXAMPLES if path.name.startswith("16"))
    files = [file for file in read_folder(folder) if file.path != "provider.yaml"]
    files.append(SourceFile(folder, "provider.yaml", (SCRIPTED + REPLIES + WORDS).encode()))
    winners: dict[str, list[str]] = {domain: [] for domain in GOALS}
    async with open_system(Settings(tmp_path / "state", tmp_path / "models", tmp_path / "socket")) as system:
        await system.reconciler.apply(Delivery("example", tuple(files)))
        for number in range(20):
            for domain, goal in GOALS.items():
                task = new_task(goal, system.clock, seed=number)
                result = await system.engine.result(await system.engine.submit(task))
                assert result.phase == "Succeeded"
                assert result.sensed is not None
                assert result.matched is not None
                weights = result.sensed.domains
                assert weights[domain] == max(weights.values())
                assert len(result.matched.bids) == 3
                winners[domain].append(result.matched.winner)
    assert any(set(won[:10]) != {SPECIALIST[domain]} for domain, won in winners.items())
    late = {domain: won[10:].count(SPECIALIST[domain]) for domain, won in winners.items()}
    assert all(count >= 9 for count in late.values()), winners
