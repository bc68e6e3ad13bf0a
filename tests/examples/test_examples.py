"""Every example loads, and runs offline with scripted answers in the place of its model."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Unpack

import pytest

import loomd
from loomd.amoeba.expect import Expect
from loomd.amoeba.task import Result
from loomd.daemon import Settings, open_system
from loomd.engine.intake import Wish, new_task
from loomd.events.cluster import AgentSplit, AuctionAwarded, SkillPromoted
from loomd.events.event import Event, Fallback, ToolCompleted
from loomd.events.room import ContextAssembled
from loomd.events.skill import SkillActivated
from loomd.manifest.delivery import Delivery
from loomd.manifest.load import load
from loomd.manifest.object import Ref
from loomd.manifest.source import SourceFile, read_folder
from loomd.tasks.declared import Declared
from loomd.tools.check import Check
from tests.engine.world import until

EXAMPLES = sorted(path for path in (Path(__file__).parents[2] / "examples").iterdir() if path.is_dir())
SCRIPTED = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: embedded}
spec:
  type: scripted
  replies:
"""
WORDS = """
---
apiVersion: loomd.dev/v1
kind: Embedder
metadata: {name: words}
spec: {type: wordllama}
"""


async def run(
    example: str, replies: str, goal: str, tmp_path: Path, **wish: Unpack[Wish]
) -> tuple[Result, list[Event]]:
    """Run a task on an example whose provider is replaced by scripted replies."""
    folder = next(path for path in EXAMPLES if path.name.startswith(example))
    files = [file for file in read_folder(folder) if file.path != "provider.yaml"]
    embedder = WORDS if "Embedder" in (folder / "provider.yaml").read_text() else ""
    files.append(SourceFile(folder, "provider.yaml", (SCRIPTED + replies + embedder).encode()))
    events: list[Event] = []
    async with open_system(Settings(tmp_path / "state", tmp_path / "models", tmp_path / "socket")) as system:
        system.bus.subscribe(events.append)
        await system.reconciler.apply(Delivery("example", tuple(files)))
        await system.reconciler.topology.settled()
        wish.setdefault("seed", 1)
        task = new_task(goal, system.clock, **wish)
        return await system.engine.result(await system.engine.submit(task)), events


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_valid_and_explained(folder: Path) -> None:
    """The manifests load, and a README says what to do with them."""
    assert load(read_folder(folder)).objects
    assert "loomd run" in (folder / "README.md").read_text()


async def test_quickstart_finds_and_cites(tmp_path: Path) -> None:
    """The passage about generators is found and the citation names its file and lines."""
    replies = '    - {when: "*", text: "A generator function uses yield [1]."}'
    result, _ = await run("01", replies, "What is a generator function?", tmp_path)
    assert result.phase == "Succeeded"
    assert result.executed is not None
    (citation,) = result.executed.outcome.citations
    assert citation.source.startswith("documents/python/")
    assert "generator" in citation.text


async def test_rules_and_a_judge_are_heard(tmp_path: Path) -> None:
    """What each evaluator says is kept and weighed, and the check in Python counts."""
    replies = """
    - {system: You judge, json: {reason: It is the right fee., score: 6, low: 5, high: 7}, times: null}
    - {when: late, text: The fee is 2.40 euros., times: null}
"""
    check = Check((Path(__file__).parents[2] / "examples/15-reward/checks/fee.py").read_text(), file="checks/fee.py")
    for days, quality in ((12, 1.0), (13, 0.0)):  # the check is all that is expected
        goal = f"What is the fee of a book that is {days} days late?"
        found, _ = await run("15", replies, goal, tmp_path / str(days), expect=Expect(checks=(check,)))
        assert found.matched is not None
        assert found.matched.winner == "cashier"
        assert found.evaluated is not None
        rules, judge = found.evaluated.opinions
        assert (rules.evaluator, judge.evaluator) == ("rules", "judge")
        assert (rules.quality, judge.said) == (quality, 0.6)
        assert (rules.weight, judge.weight) == (1 / 3, 2 / 3)


async def test_tools_are_called_and_answered(tmp_path: Path) -> None:
    """The tool really computes, and the e-mail address never reaches the model."""
    replies = """
    - when: between*[redacted]
      toolCalls: [{name: days-between, arguments: {start: "2024-02-01", end: "2024-03-01"}}]
    - {when: between, text: There are 29 days.}
"""
    goal = "How many days are there between 2024-02-01 and 2024-03-01? Write to ann@example.com"
    result, events = await run("02", replies, goal, tmp_path)
    assert result.executed is not None
    assert result.executed.outcome.output == "There are 29 days."
    assert [event.data.result for event in events if isinstance(event.data, ToolCompleted)] == ["29"]


async def test_the_team_bids_and_splits(tmp_path: Path) -> None:
    """Each part is won by the agent whose domain it is; the answers come together with their sources."""
    replies = """
    - when: "*"
      system: You split
      times: null
      json:
        parts:
          - {goal: "When are tomatoes planted out into the garden?", needs: []}
          - {goal: "How long does tomato soup simmer when cooking?", needs: []}
          - {goal: "What do tomatoes cost at the market?", needs: []}
    - {when: planted, text: "In the middle of May [1]."}
    - {when: simmer, text: "Twenty-five minutes [1]."}
    - {when: cost, text: "Four euros a kilogram [1]."}
"""
    goal = "When are tomatoes planted out, how long does tomato soup simmer, and what do tomatoes cost at the market?"
    result, events = await run("03", replies, goal, tmp_path)
    assert any(isinstance(event.data, AgentSplit) for event in events)
    winners = {
        e.task.rpartition(".")[2]: e.data.winner for e in events if isinstance(e.data, AuctionAwarded) and e.parent
    }
    assert winners == {"1": "gardener", "2": "cook", "3": "merchant"}
    assert result.executed is not None
    sources = {citation.source.partition(":")[0] for citation in result.executed.outcome.citations}
    assert sources == {"documents/garden.md", "documents/kitchen.md", "documents/market.md"}
    assert [mark in result.executed.outcome.output for mark in ("[1]", "[2]", "[3]")] == [True] * 3


async def test_a_declared_task_is_run(tmp_path: Path) -> None:
    """It has its notes and its check; the deputy gets it when the reporter fails, and the schedule names it."""
    folder = tmp_path / "tasks"
    shutil.copytree(next(path for path in EXAMPLES if path.name == "17-tasks"), folder)
    replies = """
    - {system: Use only, error: permanent, text: "no ink"}
    - {when: "Files:*notes/week.md*heating*three sentences", text: "The plumber comes on Tuesday."}
"""
    (folder / "provider.yaml").write_text(SCRIPTED + replies)
    async with loomd.open(folder, state=tmp_path / "state") as system:
        live = system.system.reconciler.topology.live[Ref("Task", "weekly-report")]
        assert isinstance(live, Declared)
        assert await system.system.store.list_tasks() == []
        result = await system.result(await system.system.engine.submit(live.task("t00000000000-1", 1)))
    assert (result.output, result.task.attempt) == ("The plumber comes on Tuesday.", 2)
    assert result.evaluated is not None
    assert any("plumber" in one for one in result.evaluated.evidence)


async def test_an_agent_improves(tmp_path: Path) -> None:
    """18-evolution: six tasks are enough, as they come to a daemon; the seventh answer names the currency."""
    folder = next(path for path in EXAMPLES if path.name == "18-evolution")
    async with open_system(Settings(tmp_path / "state", tmp_path / "models", tmp_path / "socket")) as system:
        await system.reconciler.apply(Delivery("example", tuple(read_folder(folder))))
        running = asyncio.create_task(system.evolutions.run(lambda: True))  # noqa: TID251  # awaited
        answers: list[str] = []
        for what in ("card", "book", "film", "map", "game", "disc", "print"):
            if len(answers) == 6:
                await until(system, lambda event: isinstance(event.data, SkillPromoted), "")
            task = new_task(f"What does a {what} cost?", system.clock, expect=Expect(contains=("euros",)))
            answers.append((await system.engine.result(await system.engine.submit(task))).output)
        assert answers == [*["It costs 2."] * 6, "It costs 2 euros."]
        lineage = await system.store.learning.lineage("default", "clerk")
        (tried,) = (one.how.partition(": ")[2] for one in lineage if one.how.startswith("tried"))
        assert f"`{tried}`" in (folder / "README.md").read_text()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_hello(tmp_path: Path) -> None:
    """The smallest system answers."""
    folder = tmp_path / "hello"
    folder.mkdir()
    text = (next(path for path in EXAMPLES if path.name == "00-hello") / "agent.yaml").read_text()
    assert "spec: {type: local," in text
    lines = [line for line in text.splitlines() if "type: local" not in line]
    script = 'spec: {type: scripted, replies: [{when: Maria, system: friendly host, text: "Hello Maria!"}]}'
    (folder / "agent.yaml").write_text("\n".join([*lines[:3], script, *lines[3:]]))
    async with loomd.open(folder, state=tmp_path / "state") as system:
        assert (await system.run("Say hello to Maria.")).output == "Hello Maria!"


async def test_events_are_watched_by_a_program(tmp_path: Path) -> None:
    """The program prints every event of its task, in order, and the answer in pieces."""
    command = [sys.executable, str(EXAMPLES[0].parent / "06-events" / "watch.py")]
    own = os.environ | {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=own)
    said = (await process.communicate())[0].decode()
    lines = said.splitlines()
    assert (lines[0], lines[-1]) == ("(task.started)", "(task.completed)"), said
    assert "  calls shelf with {'title': 'Faust'}" in lines
    assert sum(line.startswith("  says") for line in lines) == 3


async def test_what_was_told_is_remembered(tmp_path: Path) -> None:
    """A second task is shown what the first one was told, and a task about something else is not."""
    replies = """
    - {when: "From memory*spare key*Where", text: It lies under the blue pot.}
    - {when: "From memory*spare key*piano", text: Memory of something else was shown.}
    - {when: spare key, text: The spare key lies under the blue pot.}
    - {when: "*", text: Nobody knows.}
"""
    told, _ = await run("07", replies, "The spare key lies under the blue pot.", tmp_path)
    asked, _ = await run("07", replies, "Where does the spare key lie?", tmp_path)
    other, _ = await run("07", replies, "Who tunes the piano in the great hall?", tmp_path)
    assert [one.output for one in (told, asked, other)] == [
        "The spare key lies under the blue pot.",
        "It lies under the blue pot.",
        "Nobody knows.",
    ]


async def test_a_session_has_facts_that_are_kept_from_others(tmp_path: Path) -> None:
    """What a user told many turns ago is a fact that comes back for that user, and for no other."""
    replies = """
    - {when: "From memory*Ada keeps the boxes*Who has", times: null, text: Ada has them.}
    - {when: "Who has", times: null, text: Nobody knows.}
    - {when: "*", times: null, text: Noted.}
"""
    ann: Wish = {"session": "move", "user": "ann"}
    await run("07", replies, "My sister Ada keeps the boxes with the books.", tmp_path, **ann)
    for number in range(12):
        await run("07", replies, f"The van number {number} is as long as a bus. {'And wide. ' * 80}", tmp_path, **ann)
    asked, _ = await run("07", replies, "Who has the boxes with the books?", tmp_path, **ann)
    other, _ = await run("07", replies, "Who has the boxes with the books?", tmp_path, session="move", user="eve")
    assert [asked.output, other.output] == ["Ada has them.", "Nobody knows."]


async def test_interceptors_hide_and_refuse(tmp_path: Path) -> None:
    """No address reaches the model or the tool, what is forbidden is not begun, and a forbidden call is not made."""
    replies = """
    - when: "at [redacted]*note it"
      times: 1
      toolCalls: [{name: note, arguments: {text: "Faust is back, tell ann@example.com"}}]
    - {when: note it, text: It is noted.}
    - {when: secret, times: 1, toolCalls: [{name: note, arguments: {text: "the password is x"}}]}
    - {when: secret, text: It may not be noted.}
"""
    noted, events = await run("08", replies, "Write at ann@example.com that Faust is back, and note it.", tmp_path)
    assert noted.output == "It is noted."
    results = [event.data.result for event in events if isinstance(event.data, ToolCompleted)]
    assert results == ["noted: Faust is back, tell [redacted]"]
    refused, _ = await run("08", replies, "Tell him to shut up.", tmp_path)
    assert refused.error == "Interceptor/polite refused the work: the request breaks spec.deny[0]"
    denied, events = await run("08", replies, "Note the secret.", tmp_path)
    assert denied.output == "It may not be noted."
    assert not [event for event in events if isinstance(event.data, ToolCompleted)]


async def test_skills_are_taken_up_by_meaning(tmp_path: Path) -> None:
    """A task that is like a description has the instructions in its prompt; another one has none."""
    replies = """
    - {when: "*", system: Write minutes as a list, text: "- A shelf is bought - Ann"}
    - {when: "*", system: Write a reminder, text: "Faust was due on Monday."}
    - {when: "*", text: Four.}
"""
    goals = {
        "Make minutes of this meeting: Ann buys the shelf, Bob calls the printer.": ["minutes"],
        "Write a reminder to Ann: her book Faust is overdue since Monday.": ["overdue"],
        "What is two plus two?": [],
    }
    said: list[str] = []
    for goal, skills in goals.items():
        result, events = await run("09", replies, goal, tmp_path)
        assert [event.data.skill for event in events if isinstance(event.data, SkillActivated)] == skills
        said.append(result.output)
    assert said == ["- A shelf is bought - Ann", "Faust was due on Monday.", "Four."]


async def test_an_agent_asks_another(tmp_path: Path) -> None:
    """The writer hears what the researcher found, with the passage that it cites, in one task."""
    replies = """
    - {when: Tell Ann, times: 1, toolCalls: [{name: ask-researcher, arguments: {goal: What does a late book cost?}}]}
    - {when: What does a late book cost, text: "Twenty cents a day [1]."}
    - {when: Tell Ann, text: "Dear Ann, it costs twenty cents a day [1]."}
"""
    result, _ = await run("10", replies, "Tell Ann what a late book costs.", tmp_path)
    assert result.executed is not None
    outcome = result.executed.outcome
    assert outcome.output == "Dear Ann, it costs twenty cents a day [1]."
    assert [cited.source for cited in outcome.citations] == ["handbook/hours.md:7-7"]


async def test_what_answers_fits_the_small_window(tmp_path: Path) -> None:
    """The passage that answers is in it; a scripted model needs no form, so the others are, too."""
    replies = '    - {when: late, text: "Twenty cents a day [1]."}'
    result, events = await run("11", replies, "How much does somebody pay each day who returns a book late?", tmp_path)
    assert result.executed is not None
    assert [cited.source for cited in result.executed.outcome.citations] == ["handbook/loans.md:3-6"]
    (told,) = (event.data for event in events if isinstance(event.data, ContextAssembled))
    assert next(one for one in told.sources if one.source == "knowledge").tokens > 100
    assert told.window == 560 - 100


@pytest.mark.parametrize(
    ("goal", "source"),
    [
        ("What does it cost to replace a lost card?", "shelf/membership.pdf#page=2"),
        ("Until when is the reading room open on Thursdays?", "shelf/hours.md:7-7"),
        ("By what is the music room with its piano booked?", "shelf/rooms.html:9-9"),
        ("What is the fee for a late return of a piano score?", "shelf/fees.csv:2-4"),
        ("Where is the branch Harbour?", "shelf/branches.json:3-4"),
        ("What does late_fee return for the days of grace?", "shelf/fees.py:1-9"),
        ("Is the library closed on the first Monday of a month?", "closing.md:3-3"),
    ],
)
async def test_documents_are_cited_where_they_stand(tmp_path: Path, goal: str, source: str) -> None:
    """The first passage that is offered is the right one, of whatever format, and its place can be opened."""
    result, _ = await run("12", '    - {when: "*", text: "So it is [1]."}', goal, tmp_path)
    assert result.executed is not None
    (citation,) = result.executed.outcome.citations
    assert citation.source == source


async def test_a_graph_leads_to_what_the_question_does_not_name(tmp_path: Path) -> None:
    """The passage that says where she learned the trade has no word of the question, and is cited."""
    goal = "Where did the maker of the Halden circle learn the trade?"
    folder = next(path for path in EXAMPLES if path.name.startswith("13"))
    replies = '    - {when: "*", text: "At the foundry [1] [2]."}'
    result, _ = await run("13", replies, goal, tmp_path)
    assert result.executed is not None
    cited = {one.source.partition(":")[0] for one in result.executed.outcome.citations}
    assert {"archive/instruments/halden-circle.md", "archive/people/okafor.md"} <= cited
    assert all((folder / one).is_file() for one in cited)


async def test_the_judge_decides_what_is_read(tmp_path: Path) -> None:
    """The passage that answers comes before the one that shares the words; it is said when there was no judgement."""
    says = '    - {when: "*", text: "So it is [1]."}'
    result, events = await run("14", says, "How much is a new card when my old card is gone?", tmp_path / "one")
    assert result.executed is not None
    assert [one.source for one in result.executed.outcome.citations] == ["shelf/cards.md:9-9"]
    assert result.executed.outcome.steps == 2
    assert not [event for event in events if isinstance(event.data, Fallback)]
    result, events = await run("14", says, "How much is a torn book?", tmp_path / "two")
    assert result.executed is not None
    assert [one.source for one in result.executed.outcome.citations] == ["shelf/fees.md:9-9"]
    (fallback,) = [event.data for event in events if isinstance(event.data, Fallback)]
    assert fallback.fallback == "the passages stand in the order of the search"
