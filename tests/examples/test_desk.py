"""19-support-desk, 20-research-team and 21-skill-nodes, offline."""

import shutil
from pathlib import Path

from loomd.agents.approval import Decision
from loomd.amoeba.feedback import Said
from loomd.cluster.cluster import Cluster
from loomd.daemon import Settings, System, open_system
from loomd.engine.intake import new_task
from loomd.events.cluster import AuctionAwarded, BlueprintForged
from loomd.events.event import ApprovalRequested, Event
from loomd.events.skill import SkillActivated
from loomd.manifest.delivery import Delivery
from loomd.manifest.object import Ref
from loomd.manifest.source import read_folder
from tests.engine.world import until
from tests.examples.test_examples import EXAMPLES, SCRIPTED, WORDS

REFUND = "Please refund {} euros for order {}. Write to ann@example.com."
DESK = """
    - {when: "ann@example.com", text: An address was shown., times: null}
    - {system: You answer, when: shipping, text: "Shipping costs 4.90 euros [1].", times: null}
    - {when: refund*1041, toolCalls: [{name: refund, arguments: {order: "1041", euros: 24.5}}]}
    - {when: refund*1041, text: It is paid.}
    - {when: refund*1043, toolCalls: [{name: refund, arguments: {order: "1043", euros: 18.9}}]}
    - {when: refund*1043, text: It was not paid.}
"""


def copied(number: str, replies: str, to: Path) -> Delivery:
    """Return an example in a folder of its own, with scripted replies."""
    shutil.copytree(next(path for path in EXAMPLES if path.name.startswith(number)), to)
    (to / "provider.yaml").write_text(SCRIPTED + replies + WORDS)
    return Delivery("example", tuple(read_folder(to)))


async def refunded(system: System, euros: str, order: str, verdict: Decision) -> str:
    """Ask for a refund, and decide about the call that waits; return the answer."""
    task = await system.engine.submit(new_task(REFUND.format(euros, order), system.clock, seed=1))
    asked = await until(system, lambda event: isinstance(event.data, ApprovalRequested), task)
    assert isinstance(asked.data, ApprovalRequested)
    await system.engine.decide(asked.data.approval, verdict)
    result = await system.engine.result(task)
    assert result.matched is not None
    assert result.matched.winner == "cashier"
    return result.output


async def test_a_desk_answers_pays_and_is_told_what_it_is_worth(tmp_path: Path) -> None:
    """Nothing is paid before a person agrees, or when one denies; the day's budgets count, and so do people's words."""
    folder = tmp_path / "desk"
    async with open_system(Settings(tmp_path / "state", tmp_path / "models", tmp_path / "socket")) as system:
        await system.reconciler.apply(copied("19", DESK, folder))
        await system.reconciler.topology.settled()
        goal = "What does shipping cost for a lamp of 20 euros?"
        result = await system.engine.result(await system.engine.submit(new_task(goal, system.clock, seed=1)))
        assert result.executed is not None
        assert [one.source.partition(":")[0] for one in result.executed.outcome.citations] == ["handbook/shipping.md"]
        record = await system.engine.get(result.task.id)
        assert record is not None
        given = await system.feedback.give(record, Said(0.5, "ann"), "free from 60")
        assert given.before is not None
        assert given.after is not None
        assert given.after < given.before
        book = folder / "refunds.txt"
        assert await refunded(system, "24.50", "1041", Decision("approved", "ann")) == "It is paid."
        assert book.read_text() == "1041 24.50\n"
        assert await refunded(system, "18.90", "1043", Decision("denied", "ann", "not back yet")) == "It was not paid."
        assert book.read_text() == "1041 24.50\n"
        budget, used, _ = system.services.accounts.standing(("default", "cashier"))
        assert (budget.tool_calls, used["tool_calls"], used["calls"]) == (50, 1, 4)


TEAM = """
    - when: "*"
      system: You split
      times: null
      json:
        parts:
          - {goal: "What does a heat pump cost?", needs: []}
          - {goal: "What does a pellet boiler cost?", needs: []}
          - {goal: "How thick is the insulation of a roof?", needs: []}
    - system: You design a specialist
      json:
        name: roofer
        description: Knows how thick the insulation of a roof is.
        prompt: You know roofs. Name the thickness.
        domains: [{name: roofs, score: 0.9}]
        tools: []
    - {system: You judge, json: {reason: All numbers., score: 9, low: 8, high: 10}, times: null}
    - {system: You know roofs, when: thick, text: "It is 20 to 24 centimetres thick [1].", times: null}
    - {when: "own part:*pellet", text: "It costs 18,000 to 28,000 euros [1].", times: null}
    - {when: "own part:*heat pump", text: "It costs 25,000 to 35,000 euros [1].", times: null}
"""


async def test_a_team_researches_in_parts_and_is_judged(tmp_path: Path) -> None:
    """Each part is won by who has read about it; for the one that nobody knows a specialist is made, which stays."""
    goal = "What does a heat pump cost, what does a pellet boiler cost, and how thick is the insulation of a roof?"
    events: list[Event] = []
    async with open_system(Settings(tmp_path / "state", tmp_path / "models", tmp_path / "socket")) as system:
        system.bus.subscribe(events.append)
        await system.reconciler.apply(copied("20", TEAM, tmp_path / "team"))
        await system.reconciler.topology.settled()
        result = await system.engine.result(await system.engine.submit(new_task(goal, system.clock, seed=1)))
        won = {
            e.task.rpartition(".")[2]: e.data.winner for e in events if isinstance(e.data, AuctionAwarded) and e.parent
        }
        assert won == {"1": "engineer", "2": "stoker", "3": "roofer"}
        (made,) = [event.data for event in events if isinstance(event.data, BlueprintForged)]
        assert (made.owner, b"librarian" in bytes(made.blueprint)) == ("roofer", True)
        cluster = system.reconciler.topology.live[Ref("Cluster", "team")]
        assert isinstance(cluster, Cluster)
        assert cluster.forge.state("roofer") == "probation"
        later = "How thick is wood fibre insulation of a roof?"
        again = await system.engine.result(await system.engine.submit(new_task(later, system.clock, seed=1)))
    assert result.executed is not None
    sources = {one.source.partition(":")[0] for one in result.executed.outcome.citations}
    assert sources == {"notes/heat-pumps.md", "notes/pellets.md", "notes/roof.md"}
    assert result.evaluated is not None
    assert [one.evaluator for one in result.evaluated.opinions] == ["rules", "judge"]
    assert again.matched is not None
    assert (again.matched.winner, "bids" in again.matched.why) == ("roofer", True)
    assert len([event for event in events if isinstance(event.data, BlueprintForged)]) == 1


NODES = """
    - {system: Write minutes as a list, text: "- A shelf is bought - Ann", times: null}
    - {system: Write a shopping list, text: "- 250 g flour", times: null}
    - {text: Four., times: null}
"""


async def test_a_folder_of_skills_bids(tmp_path: Path) -> None:
    """The one whose description fits wins, and is alone in the prompt; the agent takes what fits none."""
    goals = {
        "Make minutes of this meeting: Ann buys the shelf, Bob calls the printer.": "secretary+minutes",
        "What groceries do I have to buy for pancakes?": "secretary+shopping-list",
        "What is two plus two?": "secretary",
    }
    events: list[Event] = []
    said: list[str] = []
    async with open_system(Settings(tmp_path / "state", tmp_path / "models", tmp_path / "socket")) as system:
        system.bus.subscribe(events.append)
        await system.reconciler.apply(copied("21", NODES, tmp_path / "office"))
        for goal, winner in goals.items():
            result = await system.engine.result(await system.engine.submit(new_task(goal, system.clock, seed=1)))
            assert result.matched is not None
            assert result.matched.winner == winner
            said.append(result.output)
    assert said == ["- A shelf is bought - Ann", "- 250 g flour", "Four."]
    taken = [event.data.skill for event in events if isinstance(event.data, SkillActivated)]
    assert taken == ["minutes", "shopping-list"]
