"""Recorded decisions of interceptors and permissions hold when a task runs again, and nothing reaches out for them."""

from pathlib import Path

import pytest

from loomd.replay.player import replay
from tests.replay.studio import TEAM, record

LATE = "What does a book cost that is 12 days late?"
HOOK = """
from pathlib import Path

def look(call):
    with (Path(__file__).parent / "looks").open("a") as looks:
        looks.write(call["moment"] + "\\n")
    if call["moment"] == "beforeTool":
        return {"arguments": {"days": call["arguments"]["days"] + 1}}
    if call["moment"] == "afterRun":
        return {"output": "patched"}
"""


def team(spec: str, agent: str = "interceptors: [private, it]") -> str:
    """Return the team with one more interceptor."""
    text = TEAM.replace("interceptors: [private]", agent)
    head = "---\napiVersion: loomd.dev/v1\nkind: Interceptor\nmetadata: {name: it, labels: {tier: x}}\n"
    return f"{text}{head}spec: {spec}\n"


@pytest.mark.parametrize(
    ("spec", "agent", "phase"),
    [
        pytest.param(
            "{type: python, file: hook.py, function: look, at: [beforeRun, beforeTool, afterTool, afterRun]}",
            "interceptors: [private, {matchLabels: {tier: x}}]",
            "Succeeded",
            id="a function changes arguments and the answer",
        ),
        pytest.param(
            "{type: guard, deny: ['2.40'], places: [toolResults]}",
            "interceptors: [it]",
            "Succeeded",
            id="a result is withheld",
        ),
        pytest.param("{type: guard, allow: [poem], places: [input]}", "interceptors: [it]", "Failed", id="no run"),
        pytest.param("{type: guard, deny: [euros], places: [output]}", "interceptors: [it]", "Failed", id="no answer"),
        pytest.param("{type: guard, jsonOnly: true, places: [output]}", "interceptors: [it]", "Failed", id="no JSON"),
        pytest.param("{type: limit, perTool: {late-fee: 1}}", "interceptors: [it]", "Succeeded", id="a limit"),
        pytest.param("{type: limit, modelCallsPerMinute: 1}", "interceptors: [it]", "Failed", id="a limit on models"),
        pytest.param("{type: cache, withTools: true}", "interceptors: [it]", "Succeeded", id="a cache"),
        pytest.param("{type: audit}", "interceptors: [it]", "Succeeded", id="an audit"),
        pytest.param(
            "{type: audit}", "permissions: {deny: ['late-fee(days=12)']}", "Succeeded", id="a call is not permitted"
        ),
    ],
)
async def test_what_was_decided_is_decided_again(tmp_path: Path, spec: str, agent: str, phase: str) -> None:
    """The replay is whole, whatever refused or changed what, and asks neither functions nor people."""
    (tmp_path / "hook.py").write_text(HOOK)
    cassette = await record(tmp_path, LATE, text=team(spec, agent))
    assert cassette.phase == phase
    looks = (tmp_path / "looks").read_text() if (tmp_path / "looks").exists() else ""
    played = await replay(cassette)
    assert played.difference is None
    assert played.whole
    assert ((tmp_path / "looks").read_text() if (tmp_path / "looks").exists() else "") == looks
    if "python" in spec:
        assert cassette.answer == "patched"
        assert looks.count("beforeTool") == 2


@pytest.mark.parametrize("agent", ["permissions: {ask: [late-fee], onDenied: continue}", "interceptors: [it]"])
async def test_what_people_said_comes_from_the_recording(tmp_path: Path, agent: str) -> None:
    """It does not matter who let them be asked: a rule of the agent, or an interceptor."""
    text = team("{type: approve, calls: [late-fee], onDenied: continue}", agent)
    text = text.replace("        - {name: late-fee, arguments: {days: 3}}\n", "")
    cassette = await record(tmp_path, LATE, text=text, says="denied")
    assert (await replay(cassette)).whole
