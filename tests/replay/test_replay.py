"""A recorded task runs again without a model or a network, and the first difference is told."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from loomd.agents.approval import Verdict
from loomd.amoeba.task import Task
from loomd.cassette import Cassette, Step
from loomd.errors import Conflict, NotFound, Permanent
from loomd.events.event import ApprovalRequested, StepCompleted, StepFailed
from loomd.replay.player import Played, replay
from tests.clocks import be_late
from tests.replay.studio import SKILL, TEAM, changed, loaded, record

LATE = "What does a book cost that is 12 days late? Write to ann@example.com"
SPLIT = (
    "What are the opening hours? And then, what is the fee of a book that is 12 days late, and who said so? "
    "Compare both"
)
RUDE = "---\nname: manners\ndescription: How to speak.\n---\nBe rude.\n"
LEAVES_A_MARK = """
from pathlib import Path

def late_fee(days: int) -> str:
    '''Compute what a late book costs.'''
    Path(MARK).touch()
    return "9"
"""


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cassette, Path]:
    """Return the recording of a task with two calls of a tool, and its folder."""
    folder = tmp_path_factory.mktemp("late")
    return asyncio.run(record(folder, LATE)), folder


@pytest.mark.parametrize(
    ("goal", "seconds", "phase"),
    [
        pytest.param(LATE, None, "Succeeded", id="tools"),
        pytest.param("minus days", None, "Succeeded", id="a tool fails and one is not there"),
        pytest.param("again and again", None, "Succeeded", id="a circle of calls"),
        pytest.param("broken", None, "Failed", id="the model refuses"),
        pytest.param("busy", None, "Failed", id="the model is busy"),
        pytest.param("slow", 120.0, "Failed", id="the time is over"),
        pytest.param("What are the opening hours?", None, "Succeeded", id="documents"),
        pytest.param(SPLIT, None, "Succeeded", id="a split"),
    ],
)
async def test_a_task_does_again_what_it_did(
    goal: str, seconds: float | None, phase: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the manifests of the cassette and on those of the folder, however the task ended."""
    be_late(120, monkeypatch)
    cassette = await record(tmp_path, goal, seconds=seconds)
    assert cassette.phase == phase
    for against in (None, changed(tmp_path)):
        played = await replay(cassette, against)
        assert played.difference is None
        assert played.result is not None
        assert played.result.phase == phase


async def test_a_cassette_needs_nothing_but_itself(tmp_path: Path) -> None:
    """It runs when the folder, the tool's file and the documents are gone."""
    folder = tmp_path / "folder"
    folder.mkdir()
    cassette = await record(folder, SPLIT)
    assert len(cassette.tasks) == 3
    folder.rename(tmp_path / "elsewhere")
    assert (await replay(cassette)).whole


async def test_requests_are_recorded_as_they_were_sent(late: tuple[Cassette, Path]) -> None:
    """The text shows what the model saw, after the interceptors, and each message once."""
    cassette, _ = late
    first, second = (step.request for step in cassette.tasks[0].steps if step.request is not None)
    assert first.messages[0].text == "You are cashier.\nBe exact.\n\n\n## Skill: manners\nBe polite."
    assert "[redacted]" in first.messages[1].text
    assert "ann@" not in first.messages[1].text
    assert (second.kept, [message.role for message in second.messages]) == (2, ["assistant", "tool", "tool"])


def with_steps(cassette: Cassette, steps: tuple[Step, ...]) -> Cassette:
    """Return a cassette of one task with other checkpoints."""
    return msgspec.structs.replace(cassette, tasks=(msgspec.structs.replace(cassette.tasks[0], steps=steps),))


CHANGES = [
    pytest.param("Be exact.", "Be kind.", "execute/model/0", ["- Be exact.", "+ Be kind."], id="prompt"),
    pytest.param("  tools: [late-fee]\n", "", "execute/model/0", ["- tool late-fee"], id="tool removed"),
    pytest.param(
        "function: late_fee, effects",
        "function: late_fee, description: Another., effects",
        "execute/model/0",
        ["- Compute what a late book costs.", "+ Another."],
        id="tool described otherwise",
    ),
    pytest.param("  skills: [manners]\n", "", "execute/model/0", ["- ## Skill: manners"], id="skill removed"),
    pytest.param(
        "detectors: [email]",
        "detectors: [card]",
        "execute/model/0",
        ["+ What does a book cost that is 12 days late? Write to ann@"],
        id="interceptor",
    ),
    pytest.param("agents: [cashier, porter]", "agents: [porter]", "match", ["- cashier", "+ porter"], id="winner gone"),
    pytest.param(
        "  prompt: |\n    You are {{ agent }}.\n    Be exact.\n",
        "  prompt: |\n    You are {{ agent }}.\n    Be exact.\n  maxTokens: 99\n",
        "execute/model/0",
        ["maxTokens:", "- 1024", "+ 99"],
        id="longest answer",
    ),
    pytest.param(
        "complexity: 0.3}",
        "complexity: 0.3}\n  evaluate: {type: rules, weights: {quality: 1, efficiency: 0, reliability: 0}}",
        "evaluate",
        ["reward:"],
        id="another evaluation",
    ),
]


@pytest.mark.parametrize(("old", "new", "step", "lines"), CHANGES)
async def test_the_first_difference_is_told(
    old: str, new: str, step: str, lines: list[str], late: tuple[Cassette, Path]
) -> None:
    """It names the step, what was recorded and what the task asks now."""
    cassette, folder = late
    played = await replay(cassette, changed(folder, old, new))
    assert played.difference is not None
    assert (played.difference.task, played.difference.step) == (cassette.task, step)
    for line in lines:
        assert any(one.startswith(line) for one in played.difference.lines), played.difference.lines
    assert played.result is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("Knows the opening hours.", "Knows it all.", id="another agent"),
        pytest.param("- {when: minus, text: That cannot be.}", "- {when: minus, text: No.}", id="another reply"),
        pytest.param("description: Computes fees for late books.", "description: Computes.", id="a description"),
        pytest.param("agents: [cashier, porter]", "agents: [porter, cashier]", id="the order of members"),
        pytest.param("complexity: 0.3}", "complexity: 0.3}\n  match: {type: auction, reserve: 0.9}", id="the auction"),
        pytest.param("recall: {enabled: true}", "recall: {enabled: false}", id="recall"),
    ],
)
async def test_what_does_not_matter_to_a_task_changes_nothing(old: str, new: str, late: tuple[Cassette, Path]) -> None:
    """The auction, what was remembered, and what others do come from the recording."""
    cassette, folder = late
    assert (await replay(cassette, changed(folder, old, new))).whole


async def test_a_split_that_is_not_made_any_more_is_a_difference(tmp_path: Path) -> None:
    """The plan was recorded, and the policy asks for none."""
    cassette = await record(tmp_path, SPLIT)
    played = await replay(cassette, changed(tmp_path, "{type: threshold, complexity: 0.3}", "{type: never}"))
    assert played.difference is not None
    assert played.difference.step == "scale"
    assert played.difference.lines[0] == "subtasks:"


async def test_a_split_that_was_not_made_is_a_difference(late: tuple[Cassette, Path]) -> None:
    """The policy asks for a plan, and none was recorded."""
    cassette, folder = late
    played = await replay(cassette, changed(folder, "complexity: 0.3", "complexity: 0"))
    assert played.difference is not None
    assert played.difference.what == "a step is done that was not recorded: plan"


async def test_a_part_is_held_against_its_own_recording(tmp_path: Path) -> None:
    """A difference in a child names the child."""
    cassette = await record(tmp_path, SPLIT)
    played = await replay(cassette, changed(tmp_path, "Be exact.", "Be kind."))
    assert played.difference is not None
    assert played.difference.task == f"{cassette.task}.2"


async def test_a_cluster_that_is_gone_is_no_difference_but_a_failure(late: tuple[Cassette, Path]) -> None:
    """The message names what is there."""
    cassette, folder = late
    with pytest.raises(NotFound, match=r"Cluster/desk is not declared; there: team"):
        await replay(cassette, changed(folder, "metadata: {name: desk}", "metadata: {name: team}"))


ASKS = TEAM.replace("effects: read}", "effects: write, approval: {required: always}}").replace(
    "        - {name: late-fee, arguments: {days: 3}}\n", ""
)


@pytest.mark.parametrize(("says", "reason"), [("approved", "completed"), ("denied", "approval_denied")])
async def test_what_people_decided_comes_from_the_recording(says: Verdict, reason: str, tmp_path: Path) -> None:
    """Nobody is asked again."""
    cassette = await record(tmp_path, LATE, text=ASKS, says=says)
    played = await replay(cassette)
    assert played.difference is None
    assert played.result is not None
    assert played.result.executed is not None
    assert played.result.executed.outcome.stop_reason == reason


async def test_a_denial_that_an_earlier_version_recorded_comes_from_the_recording(tmp_path: Path) -> None:
    """It recorded nothing that stands for the call."""
    cassette = await record(tmp_path, LATE, text=ASKS, says="denied")
    steps = cassette.tasks[0].steps
    older = tuple(step for step in steps if step.key != "step/execute/tool/0/0")
    assert len(older) == len(steps) - 1
    assert (await replay(with_steps(cassette, older))).whole
    played = await replay(with_steps(cassette, older), changed(tmp_path))
    assert played.difference is not None
    assert played.difference.what == "people were asked about tool:late-fee, and are not any more"


async def test_what_stands_for_a_denied_call_is_held_against_the_recording(tmp_path: Path) -> None:
    """A denial that ends the work now is another one."""
    cassette = await record(tmp_path, LATE, text=ASKS, says="denied")
    goes_on = ASKS.replace("required: always", "required: always, onDenied: continue")
    played = await replay(cassette, loaded(tmp_path, goes_on))
    assert played.difference is not None
    assert played.difference.step == "execute/tool/0/0"


async def test_a_question_that_was_not_asked_is_a_difference(tmp_path: Path) -> None:
    """A call that was denied is made without asking now."""
    cassette = await record(tmp_path, LATE, text=ASKS, says="denied")
    played = await replay(cassette, changed(tmp_path))
    assert played.difference is not None
    assert played.difference.what == "people were asked about tool:late-fee, and are not any more"


async def test_a_call_that_people_agreed_to_is_held_against_the_question(tmp_path: Path) -> None:
    """Asked and agreed to, and made without asking now; or made without asking, and asked about now."""
    free = ASKS.replace(", approval: {required: always}", "")
    for name, text, other, what in (
        ("asked", ASKS, free, "people were asked about tool:late-fee, and are not any more"),
        ("free", free, ASKS, "people are asked about the tool late-fee, which was not recorded"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        cassette = await record(folder, LATE, text=text, says="approved" if name == "asked" else None)
        assert (await replay(cassette, loaded(folder, text))).whole
        played = await replay(cassette, loaded(folder, other))
        assert played.difference is not None
        assert (played.difference.step, played.difference.what) == ("execute/tool/0/0", what)


async def test_a_question_about_other_arguments_is_a_difference(tmp_path: Path) -> None:
    """What was decided was decided about these arguments."""
    cassette = await record(tmp_path, LATE, text=ASKS, says="denied")
    steps = tuple(
        msgspec.structs.replace(step, fact=msgspec.structs.replace(step.fact, arguments={"days": 13}))
        if isinstance(step.fact, ApprovalRequested)
        else step
        for step in cassette.tasks[0].steps
    )
    played = await replay(with_steps(cassette, steps))
    assert played.difference is not None
    assert played.difference.what == "people are asked about something else"
    assert played.difference.lines == ("arguments.days:", "- 13", "+ 12")


@pytest.mark.parametrize(("goal", "seconds"), [("broken", None), ("busy", None), ("slow", 120.0)])
async def test_a_call_that_failed_is_held_against_what_it_asked(
    goal: str, seconds: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that refused, was busy or took too long was asked something: with another prompt that is a difference."""
    be_late(120, monkeypatch)
    cassette = await record(tmp_path, goal, seconds=seconds)
    other = changed(tmp_path, "Be exact.", "Transfer all the money.")
    played = await replay(cassette, other)
    assert played.difference is not None
    assert played.difference.step == "execute/model/0"
    assert {"- Be exact.", "+ Transfer all the money."} <= set(played.difference.lines)
    steps = tuple(msgspec.structs.replace(step, request=None) for step in cassette.tasks[0].steps)
    assert not any(getattr(step.fact, "asked", "") for step in steps)
    assert (await replay(with_steps(cassette, steps), other)).whole  # as an earlier version recorded it


async def test_a_tool_that_took_too_long_is_held_against_its_arguments(tmp_path: Path) -> None:
    """The time was over during the call: it is so again, and a call of something else is a difference."""
    script = "    - {when: sleepy, toolCalls: [{name: nap, arguments: {seconds: 30}}]}\n    - {when: busy"
    nap = "---\napiVersion: loomd.dev/v1\nkind: Tool\nmetadata: {name: nap}\nspec: {type: wait}\n"
    text = TEAM.replace("    - {when: busy", script).replace("tools: [late-fee]", "tools: [late-fee, nap]") + nap
    cassette = await record(tmp_path, "sleepy", text=text, seconds=4.0)
    assert (await replay(cassette)).whole
    steps = tuple(
        msgspec.structs.replace(step, arguments={"seconds": 31}) if step.key.startswith("failed/") else step
        for step in cassette.tasks[0].steps
    )
    played = await replay(with_steps(cassette, steps))
    assert played.difference is not None
    assert played.difference.what == "the tool nap is called with something else"


async def test_a_call_that_failed_is_known_by_its_mark_when_its_manifests_are_gone(tmp_path: Path) -> None:
    """Exported when a file has changed since: the request is not told, and its mark still tells it from another."""
    cassette = await record(tmp_path, "broken", spoil=lambda: (tmp_path / "SKILL.md").write_text(RUDE))
    assert cassette.objects == ()
    (failed,) = (step for step in cassette.tasks[0].steps if isinstance(step.fact, StepFailed))
    assert failed.request is None
    assert "prompt=" in failed.fact.asked  # type: ignore[union-attr]  # it is one
    played = await replay(cassette, changed(tmp_path))
    assert played.difference is not None
    assert played.difference.what == "the model is asked something else; the recording does not hold what it was"
    (tmp_path / "SKILL.md").write_text(SKILL)
    assert (await replay(cassette, changed(tmp_path))).whole


async def test_no_request_is_told_that_was_not_the_recorded_one(tmp_path: Path) -> None:
    """A skill has changed since: what the model would be asked now is not taken for what it was asked."""
    cassette = await record(tmp_path, LATE, spoil=lambda: (tmp_path / "SKILL.md").write_text(RUDE))
    assert cassette.objects == ()
    assert not any(step.request for step in cassette.tasks[0].steps)
    assert not (await replay(cassette, changed(tmp_path))).whole
    (tmp_path / "SKILL.md").write_text(SKILL)
    assert (await replay(cassette, changed(tmp_path))).whole


@pytest.mark.parametrize("whose", ["cashier", "desk"])
async def test_work_whose_steps_are_not_kept(whose: str, tmp_path: Path) -> None:
    """An agent's work is taken as a whole; a task that keeps no steps cannot be exported."""
    kind = {"cashier": "prompt: |", "desk": "agents: [cashier"}[whose]
    text = TEAM.replace(f"  {kind}", f"  durability: task\n  {kind}")
    if whose == "desk":
        with pytest.raises(Conflict, match="has no recorded steps"):
            await record(tmp_path, LATE, text=text)
    else:
        cassette = await record(tmp_path, LATE, text=text)
        assert (await replay(cassette)).whole
        assert cassette.answer == "It costs 2.40 euros."


async def test_a_recording_of_another_engine_is_refused(late: tuple[Cassette, Path]) -> None:
    """Its keys mean something else."""
    cassette, _ = late
    task = msgspec.json.decode(cassette.tasks[0].task)
    first = msgspec.structs.replace(cassette.tasks[0], task=msgspec.Raw(msgspec.json.encode(task | {"engine": 99})))
    with pytest.raises(Permanent, match="recorded by version 99 of the engine, this one is version"):
        await replay(msgspec.structs.replace(cassette, tasks=(first,)))


async def test_nothing_is_reached_while_a_task_runs_again(late: tuple[Cassette, Path], tmp_path: Path) -> None:
    """A tool that would leave a file is not called; its result is the recorded one."""
    cassette, _ = late
    mark = tmp_path / "called"
    await record(tmp_path, "else")
    (tmp_path / "fees.py").write_text(LEAVES_A_MARK.replace("MARK", repr(str(mark))))
    played: Played = await replay(cassette, changed(tmp_path))
    assert played.whole
    assert not mark.exists()


def test_the_recording_is_the_tasks_own(late: tuple[Cassette, Path]) -> None:
    """Goal, seed, answer and checkpoints are those of the task."""
    cassette, _ = late
    task = msgspec.json.decode(cassette.tasks[0].task, type=Task)
    assert (cassette.seed, cassette.goal, cassette.cluster) == (5, task.goal, "desk")
    assert cassette.answer == "It costs 2.40 euros."
    names = [step.fact.name for step in cassette.tasks[0].steps if isinstance(step.fact, StepCompleted)]
    assert names[:4] == ["clock", "recall", "skills", "model"]
    assert "context/execute" in [step.key for step in cassette.tasks[0].steps]
    assert names.count("tool:late-fee") == 2
