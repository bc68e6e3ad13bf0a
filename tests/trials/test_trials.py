"""`kind: Test`: what is given answers, what is expected is held against what comes, and nothing else is reached."""

import asyncio
import json
from pathlib import Path
from xml.etree import ElementTree as ET  # our own report is read back

import pytest

from loomd.cassette import write
from loomd.cli.main import run
from loomd.manifest.load import load
from loomd.manifest.problem import Problems
from loomd.manifest.source import SourceFile
from loomd.models.place import models_dir
from loomd.trials.trial import Verdict, run_test
from tests.replay.studio import TEAM, furnish, record

EXAMPLE = Path(__file__).parents[2] / "examples" / "04-tests"
LATE = "What does a book cost that is 12 days late?"
HEAD = "---\napiVersion: loomd.dev/v1\nkind: Test\nmetadata: {name: it}\nspec:\n"
PEOPLE = """---
apiVersion: loomd.dev/v1
kind: Interceptor
metadata: {name: people}
spec: {type: approve, calls: [late-fee]}
"""
SHOUT = """---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: shout}
spec: {type: http, url: "https://example.com/{word}", description: Shouts., effects: read, parameters: PARAMETERS}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: crier}
spec: {provider: remote, tools: [shout]}
---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: remote}
spec: {type: openai, model: small, apiKey: {valueFrom: {env: LOOMD_NO_SUCH_KEY}}}
""".replace("PARAMETERS", "{type: object, properties: {word: {type: string}}, required: [word]}")


async def trial(folder: Path, spec: str, others: str = "") -> Verdict:
    """Run a test of the team, whose spec is given as it stands in a manifest."""
    furnish(folder)
    text = TEAM + others + HEAD + "".join(f"  {line}\n" for line in spec.strip().splitlines())
    snapshot = load([SourceFile(folder, "team.yaml", text.encode())])
    (test,) = snapshot.of_kind("Test")
    return await run_test(snapshot, test, models_dir())


def told(verdict: Verdict) -> list[str]:
    """Return what a test says of itself when it fails."""
    return [str(miss) for miss in verdict.misses] or [verdict.error]


PASSES = f"""
goal: {LATE}
expect:
  phase: Succeeded
  stopReason: completed
  winner: cashier
  parts: 0
  output: {{equals: It costs 2.40 euros., contains: ["2.40", euros], matches: '\\d\\.\\d\\d euros\\.$'}}
  tools: {{inOrder: [late-fee, late-fee], anyOrder: [late-fee], never: [shout]}}
  most: {{tokens: 1000, cost: 0, steps: 2, toolCalls: 2}}
"""


async def test_all_that_is_expected_comes(tmp_path: Path) -> None:
    """A scripted provider answers as declared, and the tool that only reads is called."""
    verdict = await trial(tmp_path, PASSES)
    assert verdict.passed, told(verdict)


@pytest.mark.parametrize(
    ("agent", "others"),
    [
        ("permissions: {ask: [late-fee], allow: []}", ""),
        (
            "interceptors: [private, people]",
            PEOPLE,
        ),
    ],
    ids=["permissions", "interceptor"],
)
async def test_nobody_is_asked(tmp_path: Path, agent: str, others: str) -> None:
    """A call that would wait for a person is made; what is not permitted is still refused."""
    furnish(tmp_path)
    team = TEAM.replace("interceptors: [private]", agent)
    goal = f"  goal: {LATE}\n  expect: {{output: {{contains: ['2.40']}}, most: {{toolCalls: 2}}}}\n"
    snapshot = load([SourceFile(tmp_path, "team.yaml", (team + others + HEAD + goal).encode())])
    async with asyncio.timeout(60):
        verdict = await run_test(snapshot, snapshot.of_kind("Test")[0], models_dir())
    assert verdict.passed, told(verdict)


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ("phase: Failed", "expect.phase: expected Failed, got Succeeded"),
        ("stopReason: refused", "expect.stopReason: expected refused, got completed"),
        ("winner: porter", "expect.winner: expected porter, got cashier (highest of 2 bids: "),
        ("error: quota", 'expect.error: expected an error with "quota", got nothing'),
        ("parts: 2", "expect.parts: expected 2, got 0"),
        ("output: {equals: Nothing.}", 'expect.output.equals: expected "Nothing.", got "It costs 2.40 euros."'),
        ("output: {contains: [dollars]}", 'expect.output.contains: expected a text with "dollars", got "It costs'),
        ("output: {matches: '^\\d'}", 'expect.output.matches: expected a text that fits "^\\d", got "It costs'),
        ("output: {jsonSchema: {}}", 'expect.output.jsonSchema: expected JSON of the schema, got "It costs'),
        ("tools: {inOrder: [late-fee]}", "expect.tools.inOrder: expected late-fee, got late-fee, late-fee"),
        ("tools: {anyOrder: []}", "expect.tools.anyOrder: expected none, got late-fee"),
        ("tools: {never: [late-fee]}", "expect.tools.never: expected no call of late-fee, got late-fee, late-fee"),
        ("most: {tokens: 1}", "expect.most.tokens: expected at most 1, got "),
        ("most: {steps: 1}", "expect.most.steps: expected at most 1, got 2"),
        ("most: {toolCalls: 0}", "expect.most.toolCalls: expected at most 0, got 2"),
    ],
    ids=lambda text: text.partition(",")[0][:30],
)
async def test_what_does_not_come_is_told(expect: str, said: str, tmp_path: Path) -> None:
    """Field, what was expected and what there is."""
    verdict = await trial(tmp_path, f"goal: {LATE}\nexpect: {{{expect}}}")
    assert not verdict.passed
    assert len(verdict.misses) == 1
    assert told(verdict)[0].startswith(said), told(verdict)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def check(answer): assert '3.60' in answer, 'no 3.60'", "expect.output.checks: expected a text with which"),
        ("def check(answer): nope()", "expect.output.checks: checks/fee.py:check agrees: NameError: name 'nope'"),
        ("def check(answer, goal): assert 'late' in goal", ""),
    ],
    ids=["fails", "broken", "agrees"],
)
async def test_checks_are_asked(source: str, said: str, tmp_path: Path) -> None:
    """A check that does not agree is a miss, a broken one an error."""
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "fee.py").write_text(source)
    verdict = await trial(tmp_path, f"goal: {LATE}\nexpect: {{output: {{checks: [{{file: checks/fee.py}}]}}}}")
    assert verdict.passed == (not said), told(verdict)
    assert any(line.startswith(said) for line in [*told(verdict), verdict.error]) or not said


async def test_every_miss_is_told(tmp_path: Path) -> None:
    """Not only the first."""
    verdict = await trial(tmp_path, f"goal: {LATE}\nexpect: {{winner: porter, parts: 1, most: {{steps: 0}}}}")
    assert [miss.field for miss in verdict.misses] == ["expect.winner", "expect.parts", "expect.most.steps"]


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(
            "agent: porter\ngoal: Who?\nreplies: [{text: Ann.}]\nexpect: {winner: porter, output: {equals: Ann.}}",
            id="an agent alone",
        ),
        pytest.param(
            "cluster: desk\ngoal: Who?\nreplies: [{text: Ann.}]\nexpect: {output: {equals: Ann.}}", id="a cluster"
        ),
        pytest.param(
            f"goal: {LATE}\nresults: {{late-fee: [{{error: no}}, {{text: '9'}}]}}\n"
            "expect: {output: {contains: ['2.40']}, tools: {anyOrder: [late-fee]}}",
            id="results of a tool",
        ),
        pytest.param(
            "agent: crier\ngoal: Shout.\nresults: {shout: [{text: HO}]}\n"
            "replies: [{toolCalls: [{name: shout, arguments: {word: ho}}]}, {text: Done.}]\n"
            "expect: {output: {equals: Done.}, tools: {inOrder: [shout]}}",
            id="a web service and a key that are not there",
        ),
        pytest.param(
            "goal: broken\nexpect: {phase: Failed, stopReason: error, error: no more}", id="a failure that is expected"
        ),
    ],
)
async def test_what_is_given_answers(spec: str, tmp_path: Path) -> None:
    """Replies in the place of every provider, results in the place of calls."""
    verdict = await trial(tmp_path, spec, SHOUT)
    assert verdict.passed, told(verdict)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        pytest.param(
            "agent: crier\ngoal: Shout.\nexpect: {phase: Failed}",
            "Provider/remote would be asked: give spec.replies, or a cassette",
            id="a model",
        ),
        pytest.param(
            "agent: crier\ngoal: Shout.\nreplies: [{toolCalls: [{name: shout, arguments: {word: ho}}]}, {text: Done.}]",
            "Tool/shout would be called: give spec.results for it",
            id="a web service",
        ),
        pytest.param("goal: slow\ntimeout: 300ms", "it took longer than 0.3 s (spec.timeout)", id="the time"),
    ],
)
async def test_nothing_else_is_reached(spec: str, said: str, tmp_path: Path) -> None:
    """A test that reaches for something fails, whatever else comes of it, and says what to give."""
    verdict = await trial(tmp_path, spec, SHOUT)
    assert (verdict.passed, verdict.error) == (False, said)


async def test_a_tool_that_changes_something_is_not_called(tmp_path: Path) -> None:
    """Not even a function; what it would give must be said."""
    furnish(tmp_path)
    text = TEAM.replace("function: late_fee, effects: read", "function: late_fee") + HEAD + f"  goal: {LATE}\n"
    snapshot = load([SourceFile(tmp_path, "team.yaml", text.encode())])
    verdict = await run_test(snapshot, snapshot.of_kind("Test")[0], models_dir())
    assert verdict.error == "Tool/late-fee would be called: give spec.results for it, or declare effects: read"


async def test_a_recording_is_a_test(tmp_path: Path) -> None:
    """It passes on the manifests of its task, and fails with the difference on others."""
    (tmp_path / "late.json").write_bytes(write(await record(tmp_path, LATE)))
    spec = "cassette: late.json\nexpect: {winner: cashier, output: {contains: ['2.40']}}"
    verdict = await trial(tmp_path, spec)
    assert verdict.passed, told(verdict)
    verdict = await trial(tmp_path, spec.replace("cashier", "porter"))
    assert [miss.field for miss in verdict.misses] == ["expect.winner"]
    text = TEAM.replace("Be exact.", "Be kind.") + HEAD + "  cassette: late.json\n"
    snapshot = load([SourceFile(tmp_path, "team.yaml", text.encode())])
    verdict = await run_test(snapshot, snapshot.of_kind("Test")[0], models_dir())
    assert not verdict.passed
    assert verdict.difference is not None
    assert {"- Be exact.", "+ Be kind."} < set(verdict.difference.lines)


@pytest.mark.parametrize(
    ("spec", "code", "said"),
    [
        pytest.param("{}", "", "expected exactly one of goal, cassette", id="nothing to do"),
        pytest.param("{goal: x, agent: cashier, cluster: desk}", "", "expected one of agent and cluster", id="two"),
        pytest.param("{goal: x, agent: nobody}", "unresolved-reference", "nobody", id="no such agent"),
        pytest.param("{goal: x, results: {none: []}}", "unresolved-reference", "none", id="no such tool"),
        pytest.param("{goal: x, expect: {winner: none}}", "unresolved-reference", "none", id="no such winner"),
        pytest.param("{cassette: none.json}", "bad-file", "none.json", id="no such cassette"),
        pytest.param("{cassette: fees.py}", "bad-file", "is no cassette", id="no cassette"),
        pytest.param("{cassette: fees.py, replies: [{text: x}]}", "", "expected no replies beside cassette", id="both"),
        pytest.param("{goal: x, expect: {output: {matches: '('}}}", "invalid-value", "regular expression", id="regex"),
        pytest.param("{goal: x, expect: {output: {jsonSchema: {type: 1}}}}", "invalid-value", "JSON", id="schema"),
    ],
)
def test_a_test_is_validated_like_every_kind(spec: str, code: str, said: str, tmp_path: Path) -> None:
    """A mistake is a problem of the manifest, with its place."""
    furnish(tmp_path)
    text = TEAM + HEAD.removesuffix("spec:\n") + f"spec: {spec}\n"
    with pytest.raises(Problems) as wrong:
        load([SourceFile(tmp_path, "team.yaml", text.encode())])
    first = wrong.value.problems[0]
    assert said in first.message
    assert first.code == (code or first.code)
    assert first.object == "Test/it"


def test_the_example_passes(capsys: pytest.CaptureFixture[str]) -> None:
    """All four tests, in the order of the file; nothing is left behind."""
    assert run(["test", str(EXAMPLE)]) == 0
    said = capsys.readouterr()
    assert [line.split()[:2] for line in said.out.splitlines()] == [
        ["ok", "a-late-book-costs-twenty-cents-a-day"],
        ["ok", "a-book-is-reserved-once"],
        ["ok", "a-book-that-is-lent-is-not-promised"],
        ["ok", "a-fee-as-it-was-recorded"],
    ]
    assert said.err == "\n4 tests: all passed\n"
    assert not Path("reserved.txt").exists()


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    """Return a folder with a test that passes, one that fails and one that cannot be run."""
    furnish(tmp_path)
    tests = "".join(
        HEAD.replace("{name: it}", f"{{name: {name}}}") + f"  {{goal: {LATE}{more}}}\n"
        for name, more in (
            ("first-passes", ""),
            ("second-fails", ", expect: {output: {contains: ['<b>']}}"),
            ("third-hangs", ", timeout: 1ms"),
        )
    )
    (tmp_path / "team.yaml").write_text(TEAM + tests)
    return tmp_path


def test_failures_are_told_in_every_form(failing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For people, for programs, and for a pipeline; exit code 1."""
    report = tmp_path / "report.xml"
    assert run(["test", str(failing), "--junit", str(report)]) == 1
    said = capsys.readouterr()
    assert "FAIL second-fails" in said.out
    assert '         expected a text with "<b>"\n         got      "It costs 2.40 euros."\n' in said.out
    assert said.err == "\n3 tests: 2 failed\n"
    assert run(["test", str(failing), "-o", "json"]) == 1
    first, second, third = json.loads(capsys.readouterr().out)["tests"]
    assert (first["passed"], second["passed"], third["passed"]) == (True, False, False)
    assert second["misses"][0]["field"] == "expect.output.contains"
    assert third["error"] == "it took longer than 0.001 s (spec.timeout)"
    assert run(["test", str(failing), "-o", "junit"]) == 1
    for text in (report.read_text(), capsys.readouterr().out):
        (suite,) = ET.fromstring(text)  # noqa: S314  # see above
        assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["3", "1", "1"]
        failure = suite[1][0]
        assert (failure.tag, suite[2][0].tag) == ("failure", "error")
        assert 'expected a text with "<b>"' in (failure.text or "")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(["FOLDER", "--filter", "first"], 0, "1 test: all passed", id="one by a part of its name"),
        pytest.param(["FOLDER", "--filter", "f*st-pass"], 0, "1 test: all passed", id="one by a pattern"),
        pytest.param(["FOLDER", "--filter", "none"], 2, "no objects of kind Test with 'none'", id="none by name"),
        pytest.param(["FOLDER/documents"], 2, "no manifests", id="no manifests"),
        pytest.param(["FOLDER/nowhere"], 2, "does not exist", id="no folder"),
        pytest.param(["EXAMPLE/desk.yaml"], 1, "no Provider", id="manifests that are not whole"),
    ],
)
def test_the_exit_code_says_which(
    arguments: list[str], code: int, said: str, failing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 passed, 1 failed or not valid, 2 usage or nothing to do."""
    spelled = [one.replace("FOLDER", str(failing)).replace("EXAMPLE", str(EXAMPLE)) for one in arguments]
    assert run(["test", *spelled]) == code
    assert said in capsys.readouterr().err


def test_tests_run_side_by_side(tmp_path: Path) -> None:
    """Twenty tests that wait take hardly longer than one."""
    furnish(tmp_path)
    waits = "  {goal: wait, replies: [{text: x, delay: 500ms}], agent: porter}\n"
    tests = "".join(HEAD.replace("{name: it}", f"{{name: t{at}}}") + waits for at in range(20))
    snapshot = load([SourceFile(tmp_path, "team.yaml", (TEAM + tests).encode())])

    async def all_of_them() -> list[Verdict]:
        return await asyncio.gather(*(run_test(snapshot, test, models_dir()) for test in snapshot.of_kind("Test")))

    verdicts = asyncio.run(all_of_them())
    assert all(one.passed for one in verdicts)
    assert sum(one.seconds for one in verdicts) > 20 * 0.5
