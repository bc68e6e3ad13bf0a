"""What is told of a task: `logs`, `describe` and `explain`, at a real daemon."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from loomd.api.client import Asked
from loomd.cli.course import trace
from loomd.cli.reasons.adapt import tell as adapted
from loomd.cli.reasons.tell import tell
from loomd.cli.task import describe
from loomd.cli.transcript import Transcript
from tests.cli import team
from tests.cli.terminal import Folder, Terminal
from tests.daemon.process import Daemon


@pytest.fixture
def crew(folder: Folder) -> Folder:
    """Return a folder whose team is applied."""
    team.write(folder.path, folder.space)
    folder.apply()
    return folder


def ended(folder: Folder, goal: str, *options: str) -> str:
    """Return the id of a task that has ended."""
    task = folder.said("submit", goal, "-n", folder.space, *options).strip()
    folder.loomd("wait", f"task/{task}", "-n", folder.space)
    return f"task/{task}"


def told(folder: Folder, verb: str, task: str, *options: str) -> str:
    """Return what a verb says of a task."""
    return folder.said(verb, task, "-n", folder.space, *options)


def course(folder: Folder, task: str) -> dict[str, Any]:
    """Return the course of a task, as data."""
    found: dict[str, Any] = json.loads(told(folder, "describe", task, "-o", "json"))["status"]["course"]
    return found


def untimed(text: str) -> list[str]:
    """Return the lines of a transcript without their times."""
    return [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in text.splitlines()]


def test_logs_are_a_transcript(crew: Folder) -> None:
    """Goal, texts, calls with arguments and results, in order and by name; secrets are hidden."""
    task = ended(crew, "please add numbers")
    lines = untimed(told(crew, "logs", task))
    assert lines == [
        "task: task please add numbers",
        "ada: Let me add.",
        'ada: calls add {"a": 1, "b": 2, "apiKey": "(hidden)", "note": "by ***"}',
        "ada: gets add -> 3",
        "ada: It is 3.",
        "          That is all.",
        lines[-1],
    ]
    assert re.fullmatch(r"ada: done completed, reward 0\.9\d", lines[-1]) or lines[-1].endswith("reward 1.00")
    assert untimed(told(crew, "logs", task.removeprefix("task/"), "--tail", "2")) == lines[-3:]
    assert untimed(told(crew, "logs", task, "-f", "--tail", "1")) == lines[-1:]
    assert told(crew, "logs", task, "--tail", "0") == ""


def test_logs_tell_what_went_wrong(crew: Folder) -> None:
    """A tool that failed, a result that is long, a part that failed, and text that would steer the terminal."""
    lines = untimed(told(crew, "logs", ended(crew, "break it")))
    assert "ada: error add failed: the arguments are refused: b: Field required" in lines
    assert next(line for line in lines if "long ->" in line) == f"ada: gets long -> {'x' * 3000}the end"
    task = ended(crew, team.SPLIT)
    lines = untimed(told(crew, "logs", task))
    first = lines.index("ada: note split into 3 parts") + 1
    assert [line.strip() for line in lines[first : first + 3]] == ["1. left", "2. right add", "3. both"]
    closed = "error the task failed (error): script/scripted: the account is closed"
    assert {f"1 ada: {closed}", f"1 bob: {closed}"} & set(lines)
    assert {"2 ada: gets add -> 3", "2 bob: gets add -> 3"} & set(lines)
    part = untimed(told(crew, "logs", f"{task}.1"))
    assert part in (["task: task left", f"{who}: {closed}"] for who in ("ada", "bob"))
    assert "ada: a\\x1b[2Jb" in told(crew, "logs", ended(crew, "clear it"))


def test_logs_have_colours_on_a_terminal_only(crew: Folder) -> None:
    """In a pipe, and under NO_COLOR, nothing steers a terminal."""
    task = ended(crew, "break it")
    terminal = Terminal(crew, "logs", task, "-n", crew.space)
    assert terminal.end() == 0
    assert "\x1b[31merror add failed" in terminal.text
    assert "\x1b" not in told(crew, "logs", task)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["logs", "agent/ada"], "expected a task, such as task/t1", id="logs-agent"),
        pytest.param(["logs", "task/nope"], "no Task 'nope'", id="logs-nobody"),
        pytest.param(["explain", "agent/ada"], "`loomd describe agent/ada` shows the object", id="explain-agent"),
        pytest.param(["explain", "task/nope"], "no Task 'nope'", id="explain-nobody"),
        pytest.param(["explain", "tasq/t1"], "no kind 'tasq': did you mean \"task\"?", id="explain-kind"),
    ],
)
def test_what_cannot_be_told(crew: Folder, arguments: list[str], message: str) -> None:
    """What is no task is refused, with the verb that knows more."""
    ended(crew, "anything")
    ran = crew.loomd(*arguments, "-n", crew.space)
    assert ran.returncode == 2
    assert message in ran.stderr


def test_a_task_is_a_tree(crew: Folder) -> None:
    """Phases with bids and steps, children inside the phase that ran them, and sums that add up."""
    task = ended(crew, team.SPLIT)
    item = json.loads(told(crew, "describe", task, "-o", "json"))
    tree = item["status"]["course"]
    assert [phase["phase"] for phase in tree["phases"]] == ["sense", "match", "scale", "execute", "evaluate", "adapt"]
    ends = {child["task"].rpartition(".")[2]: child["phase"] for child in tree["children"]}
    assert ends == {"1": "Failed", "1-2": "Failed", "2": "Succeeded", "3": "Succeeded"}
    match = tree["phases"][1]["decision"]
    assert [bid["agent"] for bid in match["bids"]] == ["ada", "bob"]
    assert match["bids"][0]["total"] > match["bids"][1]["total"]
    own = [step for phase in tree["phases"] for step in phase["steps"] if step["kind"] == "model"]
    assert tree["took"]["modelCalls"] == len(own) + sum(child["took"]["modelCalls"] for child in tree["children"])
    assert tree["took"]["input"] + tree["took"]["output"] == sum(
        item["status"]["usage"][k] for k in ("input", "output")
    )
    assert tree["took"]["seconds"] >= max(child["took"]["seconds"] for child in tree["children"])
    assert tree["revision"] == item["spec"]["revision"]
    why = " ".join(told(crew, "explain", task).split())
    assert f"{task}.1-2 was begun in the place of {task}.1" in why
    assert "a part that fails is given to another agent once" in why
    text = told(crew, "describe", task)
    lines = text[text.index("Phases:") :].splitlines()
    execute = next(at for at, line in enumerate(lines) if "─ execute" in line)
    below = [line for line in lines[execute + 1 :] if line.startswith("  │  ")]
    parts = [line for line in below if "─ task/" in line]
    assert sorted(line.split()[2].rpartition(".")[2] for line in parts) == ["1", "1-2", "2", "3"]
    assert "left [Failed error;" in parts[0]
    assert all(re.search(r"─ (bid|sense|match|model|tool|task|context|learns)", line) for line in below[:3])
    assert re.search(r"Took: +\d+ model calls, \d+ tool calls?, \d+\+\d+ tokens, \d+\.\d+ s", text)


def test_the_steps_of_a_task(crew: Folder) -> None:
    """Model calls with tokens, cost and text; tool calls with arguments, cut, and results; nothing secret."""
    task = ended(crew, "please add numbers")
    context, model, tool, again = course(crew, task)["phases"][3]["steps"]
    assert [one["source"] for one in context["sources"]] == ["prompt", "tools", "goal", "form", "history"]
    assert (model["kind"], model["key"], model["model"]) == ("model", "execute/model/0", "script/scripted")
    assert (model["tokens"], model["text"]) == ({"input": 100, "output": 10}, "Let me add.")
    assert model["calls"] == ["add"]
    assert (tool["kind"], tool["key"], tool["tool"], tool["result"]) == ("tool", "execute/tool/0/0", "add", "3")
    assert tool["arguments"] == {"a": 1, "b": 2, "apiKey": "(hidden)", "note": "by ***"}
    assert again["text"] == "It is 3.\nThat is all."
    text = told(crew, "describe", task)
    assert "model   script/scripted (100+10 tokens, " in text
    assert 'tool    add {"a": 1, "b": 2, "apiKey": "(hidden)", "note": "by ***"} (' in text
    for verb in (["describe"], ["describe", "-o", "json"], ["logs"], ["explain"]):
        said = told(crew, verb[0], task, *verb[1:])
        assert team.WORD not in said
        assert team.TOKEN not in said
    assert all(len(line) < 300 for line in told(crew, "describe", ended(crew, "break it")).splitlines())


def test_objects_are_data_too(crew: Folder) -> None:
    """One thing is itself, several are a list."""
    one = json.loads(told(crew, "describe", "agent/ada", "-o", "json"))
    assert (one["kind"], one["metadata"]["name"]) == ("Agent", "ada")
    both = json.loads(told(crew, "describe", "agents", "-o", "json"))
    assert [item["metadata"]["name"] for item in both["items"]] == ["ada", "bob"]


def test_decisions_are_explained(crew: Folder) -> None:
    """Evidence, every bid with weights and draw, split or not, the end, the parts of the reward, what was learned."""
    task = ended(crew, "please add numbers", "--seed", "7")
    phases = {phase["phase"]: phase["decision"] for phase in course(crew, task)["phases"]}
    weights = phases["match"]["weights"]
    for bid in phases["match"]["bids"]:
        assert bid["total"] == pytest.approx(sum(weights[name] * value for name, value in bid["factors"].items()))
        assert bid["factors"]["exploration"] == pytest.approx(bid["drawn"] * bid["spread"])
    reward = phases["evaluate"]
    parts = reward["weights"]
    assert reward["reward"] == pytest.approx(sum(parts[name] * reward[name] for name in parts))
    text = " ".join(told(crew, "explain", task).split())
    for sentence in (
        'Task/T, "please add numbers", has the seed 7.',
        "SENSE: the policy heuristic gave it the complexity 0.10 of 1, the domains",
        "- evidence: 3 words - evidence: 1 request",
        "It seemed to need add.",
        "MATCH: ada took it, highest of 2 bids:",
        "A bid is 0.40 x capability + 0.25 x availability + 0.20 x history + 0.15 x tools + 0.40 x exploration",
        "the lowest that may win is 0.20. The draws for newcomers come from the seed 7,",
        "0.25 x 1.000 availability (0 in hand)",
        f"exploration (drawn {phases['match']['bids'][0]['drawn']:.2f} x",
        "SCALE: one agent did it alone, because complexity 0.10 is not above 0.6.",
        "EXECUTE: it ended as completed: the model gave its answer before any limit was reached.",
        f"EVALUATE: the reward is {reward['reward']:.3f} = 1.000 quality x (0.50 + 0.30 x",
        "- checked: there is an answer: 1.00",
        "ADAPT: this was learned. - ada in",
        "because of reward",
    ):
        assert sentence.replace("Task/T", f"T{task[1:]}") in text


def test_failures_are_explained(crew: Folder) -> None:
    """A limit that was reached, a part that failed, and why nothing else counts then."""
    short = ended(crew, "please add", "--max-tokens", "220")
    assert "the task's budget of tokens is used up (110 of 220 used, too little" in told(crew, "describe", short)
    limited = " ".join(told(crew, "explain", short).split())
    assert "nothing was learned, because not the agent ended it: a budget of the task, a person" in limited
    assert "it ended as budget_tokens: the tokens were used up, and what there was of an answer was taken." in limited
    assert "- limit budget_tokens: 110 used of 220" in limited
    task = ended(crew, team.SPLIT)
    split = " ".join(told(crew, "explain", task).split())
    assert "SCALE: it was split into 3 parts, because complexity 1.00 is above 0.6" in split
    assert '- part 3: "both", which sees the results of 1 and 2' in split
    assert "Without a result are: left." in split
    assert (
        f'The part "left" ended Failed, script/scripted: the account is closed: `loomd explain {task}.1` says' in split
    )
    part = " ".join(told(crew, "explain", f"{task}.1").split())
    assert "it ended as error: something failed. There is no answer: script/scripted: the account is closed." in part
    assert "the reward is 0.000 = 0.000 quality x (0.50 + 0.30 x" in part


def test_why_the_lead_of_a_split_learned_nothing_is_told() -> None:
    """Where the parts did nearly all, no score of the lead moves, whatever else was learned."""
    move = {"type": "expense", "agent": "ada", "before": [0, 0], "after": [1, 1], "count": 1, "reason": "it took that"}
    course = {"phases": [{"decision": {"children": ["t.1"], "own": 0.25, "outcome": {}}}]}
    text = " ".join(" ".join(adapted({"decisions": [move]}, 7, course)).split())
    assert "because it took that; 1 task says so now" in text
    assert text.endswith("- no score moved: 75% of the work was done by parts, each learned from itself")


@pytest.fixture
def own(tmp_path: Path) -> Generator[Daemon]:
    """Yield a daemon that a test may end."""
    made = Daemon(tmp_path)
    yield made
    made.kill()


def test_a_task_that_is_interrupted(own: Daemon) -> None:
    """While it runs it is told as far as it is; logs go on over a kill to the end; the interruption is told."""
    team.write(own.folder)
    own.start()
    task = str(own.client.post("namespaces", "default", "tasks", body={"goal": "wait for it"})["id"])
    next(own.client.events(asked=Asked(task=task, types=("tool.call.started",)), follow=True))
    with subprocess.Popen(  # noqa: S603  # our own command
        [sys.executable, "-m", "loomd", "logs", f"task/{task}", "-f"],
        env=own.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as logs:
        assert logs.stdout is not None
        assert logs.stdout.readline().endswith("task: task wait for it\n")
        assert "execute     begun\n" in own.loomd("describe", f"task/{task}").stdout
        assert re.search(r"EXECUTE: begun at [\d:]+, not decided yet\.", own.loomd("explain", f"task/{task}").stdout)
        own.stop(signal.SIGKILL)
        (own.folder / "go").touch()
        own.start()
        rest, _ = logs.communicate(timeout=30)
    assert logs.returncode == 0
    assert untimed(rest)[-2] == "ada: at last"
    assert any("goes on after an interruption; " in line for line in untimed(rest))
    described = own.loomd("describe", f"task/{task}").stdout
    assert re.search(r"\nInterrupted: +once\n", described)
    assert re.search(r"─ execute +[\d.]+s  completed .* \(interrupted once\)\n", described)
    assert "It was interrupted, and went on at" in " ".join(own.loomd("explain", f"task/{task}").stdout.split())


def happened(kind: str, **fact: Any) -> dict[str, Any]:
    """Return an event of a task."""
    return {"task": "t1", "ts": 1.0, "seq": 1, "agent": "ada", "data": {"type": kind, **fact}}


NOTES = [
    happened("phase.started", phase="execute"),
    happened("approval.requested", approval="a1", tool="pay", arguments={"sum": 3}, question="call", expires=9.0),
    happened("approval.resolved", approval="a1", verdict="denied", by="eve", reason="too much", at=2.0, seconds=4.0),
    happened("fallback.used", phase="scale", reason="no plan", fallback="done alone"),
    happened("call.checked", by="Interceptor/guard", call="model", action="refused", reason="no poems"),
    happened("call.checked", by="permissions", call="tool:pay", action="refused", reason="pay is denied"),
    happened("task.moved", before="r1", after="r2"),
    happened("task.resumed", recorded=7),
    happened("knowledge.searched", knowledge="kb", query="q", sources=["a.md:1-2"]),
    happened("skill.activated", skill="tides", trigger="semantic", why="it is 0.52 like it", score=0.52),
    happened("skill.activated", skill="forms", trigger="model", why="the model asked", score=1.0, tools=["read", "ls"]),
    happened("skill.activated", skill="quiet", trigger="manual", why="the task names /quiet", score=1.0, tools=[]),
    happened("skill.offered", skills=["a", "b"], unlisted=["c"]),
    happened("skill.offered", skills=[], unlisted=["d"]),
    happened("step.completed", name="skills", value={}),
    happened("tool.call.started", tool="pay", call_id="c1", arguments={}),
    happened("something.newer", unknown=1),
]
ITEM = {
    "spec": {"goal": "g", "seed": 1},
    "metadata": {"name": "t1", "created": 0.0},
    "status": {"phase": "Running", "reason": "Cluster/team does not serve"},
}


def test_what_else_happens_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Approvals, fallbacks, moves, searches, and a call without an end; what is not known yet is passed over."""
    transcript = Transcript("t1")
    assert [entry.text for event in NOTES for entry in transcript.read(event)] == [
        'waits for approval a1 of pay {"sum": 3}',
        "approval a1 denied by eve: too much",
        "scale: no plan; done alone",
        "Interceptor/guard refused the model call: no poems",
        "permissions refused the call of pay: pay is denied",
        "goes on on revision r2 instead of r1",
        "goes on after an interruption; 7 checkpoints are kept",
        "found in kb: a.md:1-2",
        "takes up the skill tides by semantic, because it is 0.52 like it",
        "takes up the skill forms by model, because the model asked; of the tools only read, ls from then on",
        "takes up the skill quiet by manual, because the task names /quiet; no tools from then on",
        "pay {}",
    ]
    tree = trace("t1", NOTES)
    describe(ITEM, tree)
    text = capsys.readouterr().out
    assert re.search(r"Moved: +[\d: -]+ from r1 to r2", text)
    assert [line.partition("─ ")[2] for line in text.splitlines() if line.startswith("     ")] == [
        'asks    approval a1: pay {"sum": 3}',
        "answer  approval a1 denied by eve after 4s: too much",
        "instead done alone: no plan",
        "check   Interceptor/guard refused the model call: no poems",
        "check   permissions refused the call of pay: pay is denied",
        "search  kb: a.md:1-2",
        "takes   skill tides by semantic, because it is 0.52 like it",
        "takes   skill forms by model, because the model asked; of the tools only read, ls from then on",
        "takes   skill quiet by manual, because the task names /quiet; no tools from then on",
        "offers  skills a, b; no room in the list for c (spec.skillBudget.catalogue)",
        "offers  skills none; no room in the list for d (spec.skillBudget.catalogue)",
        "tool    pay {} -> no end recorded",
    ]
    said = " ".join(" ".join(tell(ITEM, tree)).split())
    assert "- it took up the skill tides by semantic, because it is 0.52 like it" in said
    assert "- the model could take up these skills: a, b; no room in the list for c" in said
    assert "- approval a1 was denied by eve: too much - done alone, because no plan" in said
    assert "- permissions refused the call of pay, because pay is denied" in said
    assert "it went over from revision r1 to r2" in said
    assert "It does not run: Cluster/team does not serve." in said


REFUSED = [
    happened("phase.started", phase="execute"),
    happened("model.called", model="m", usage={}, cost=0.5, seconds=1.0),
    happened(
        "step.completed",
        name="model",
        value={"tool_calls": [{"id": "c1", "name": "pay", "arguments": {"sum": 9}}, {"id": "c2", "name": "pay"}]},
    ),
    happened("tool.call.started", tool="pay", call_id="c2", arguments={"sum": 3}),
    happened("tool.call.failed", tool="pay", call_id="c1", error="pay(sum=9) is denied"),
    happened("tool.call.completed", tool="pay", call_id="c2", result="paid", seconds=1.0),
    happened("step.completed", name="tool:pay", value={"text": "paid", "cost": 0.25}),
    happened("tool.call.failed", tool="say", call_id="c3", error="nobody wanted it"),
]


def test_calls_of_tools_are_told_with_what_was_wanted_and_what_they_cost(capsys: pytest.CaptureFixture[str]) -> None:
    """A call that was refused never began: what it wanted stands in the model's turn."""
    tree = trace("t1", REFUSED)
    assert tree["took"]["cost"] == 0.75
    describe(ITEM, tree)
    text = capsys.readouterr().out
    assert re.search("Took: +1 model call, 3 tool calls .2 failed., 0.0 tokens, 0.750000 USD", text)
    assert [line.partition("─ ")[2] for line in text.splitlines() if "tool    " in line] == [
        'tool    pay {"sum": 3} (0.250000 USD, 1.000s) -> paid',
        'tool    pay {"sum": 9} -> failed: pay(sum=9) is denied',
        "tool    say -> failed: nobody wanted it",
    ]


def over(phase: str, at: float, **value: Any) -> dict[str, Any]:
    """Return the end of a phase that took a second."""
    return happened("phase.completed", phase=phase, why=phase, value=value, seconds=1.0) | {"ts": at}


def noted(at: float) -> dict[str, Any]:
    """Return something that happened in a phase."""
    return happened("fallback.used", phase="", reason="r", fallback="f") | {"ts": at}


@pytest.mark.parametrize(
    ("events", "phases"),
    [
        pytest.param(
            [over("sense", 2.0), over("match", 3.0, winner="ada"), noted(3.5)],
            [("sense", 1.0, 0), ("match", 2.0, 0), ("scale", 3.0, 1)],
            id="it runs",
        ),
        pytest.param(
            [over("sense", 2.0), over("match", 3.0, winner=""), happened("task.failed", stop_reason="", error="")],
            [("sense", 1.0, 0), ("match", 2.0, 0)],
            id="nobody takes it",
        ),
        pytest.param(
            [over("sense", 2.0), noted(2.5), happened("task.resumed", recorded=2), noted(7.5), over("match", 8.0)],
            [("sense", 1.0, 0), ("match", 2.0, 2)],
            id="it goes on",
        ),
        pytest.param(
            [over("sense", 2.0), noted(2.5), noted(7.5), over("sense", 8.0)],
            [("sense", 1.0, 0), ("match", 2.0, 1), ("sense", 7.0, 1), ("match", 8.0, 0)],
            id="it begins anew",
        ),
        pytest.param(
            [
                happened("phase.started", phase="sense") | {"ts": 1.25},
                over("sense", 2.0),
                happened("phase.started", phase="match") | {"ts": 2.25},
                happened("task.resumed", recorded=2),
                happened("phase.started", phase="match") | {"ts": 5.0},
                over("match", 6.0),
            ],
            [("sense", 1.25, 0), ("match", 2.25, 0)],
            id="a journal of an earlier version",
        ),
    ],
)
def test_phases_follow_each_other(events: list[dict[str, Any]], phases: list[tuple[str, float, int]]) -> None:
    """The journal says when each phase ended, which is when the next one began."""
    node = trace("t1", [happened("task.started", goal="g", cluster="c"), *events])
    assert [(one["phase"], one["began"], len(one["steps"])) for one in node["phases"]] == phases
    again = [len(one["resumed"]) for one in node["phases"] if "resumed" in one]
    assert again == [1] * len(node["resumed"])


PARTS = [("t1.1", "left"), ("t1.2", "right")]


def test_how_far_each_part_is_is_told() -> None:
    """A part that waits for others has no phase yet, one that runs says how far it is, one that ended why."""
    course = trace(
        "t1",
        [
            happened("task.started", goal="look around", cluster="c"),
            happened("agent.split", children=["t1.1", "t1.2", "t1.3"], goals=["left", "right", "up"]),
            *(happened("task.started", goal=goal, cluster="c") | {"task": task} for task, goal in PARTS),
            happened("task.failed", stop_reason="error", error="no light") | {"task": "t1.2"},
        ],
    )
    assert [one["phase"] for one in course["children"]] == ["Running", "Failed", "Pending"]
    item = {"metadata": {"name": "t1"}, "spec": {"goal": "look around"}, "status": {"phase": "Running"}}
    assert [line for line in tell(item, course) if line.startswith("The part")] == [
        'The part "left" goes on: `loomd explain task/t1.1` says how far it is.',
        'The part "right" ended Failed, no light: `loomd explain task/t1.2` says why.',
        'The part "up" has not begun.',
    ]


THOUGHT = [
    happened("phase.started", phase="execute"),
    happened("model.called", model="p/m", usage={"input": 9, "output": 7, "unpriced": 16}, cost=0.0, seconds=0.5),
    happened(
        "step.completed", name="model", value={"text": "Yes.", "thoughts": [{"text": "Let me "}, {"text": "see."}]}
    )
    | {"key": "step/execute/model/0"},
    happened("model.called", model="p/n", usage={"input": 9, "output": 7}, cost=0.25, seconds=0.5),
    happened(
        "phase.completed",
        phase="execute",
        why="done",
        value={"outcome": {"output": "Yes.", "reasoning": "Let me see."}},
    ),
]


def test_what_a_model_thought_and_what_it_cost_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Reasoning stands with its call and with the answer; a price that is not known is not left out."""
    tree = trace("t1", THOUGHT)
    describe(ITEM | {"status": {"phase": "Succeeded", "output": "Yes.", "reasoning": "Let me see."}}, tree)
    text = capsys.readouterr().out
    assert "model   p/m (9+7 tokens, price not known, 0.500s) -> thinks: Let me see.; Yes." in text
    assert "model   p/n (9+7 tokens, 0.250000 USD, 0.500s)" in text
    assert re.search(
        r"Took: +2 model calls, 0 tool calls, 18\+14 tokens, 0.250000 USD, no price known of 16 tokens", text
    )
    assert "Reasoning" in text
    assert "reasoning" not in tree["phases"][0]["decision"]["outcome"]  # it stands with the calls
    assert "no price known of 16 tokens" in " ".join(" ".join(tell(ITEM, tree)).split())


def test_without_events_the_result_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a task whose events retention removed, it is said that they are gone."""
    item = ITEM | {"status": {"phase": "Succeeded", "stopReason": "completed", "output": "42"}}
    describe(item, trace("t1", []))
    assert "its events are not there any more: retention removed them" in capsys.readouterr().out
    assert "retention removed them" in " ".join(tell(item, trace("t1", [])))
