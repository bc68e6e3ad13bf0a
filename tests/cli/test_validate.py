"""`loomd validate`: exit codes, and the same problems in every form."""

import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from loomd.cli.main import run
from loomd.cli.problems import render
from loomd.manifest.code import CODES
from loomd.manifest.problem import Position, Problem

GOOD = "apiVersion: loomd.dev/v1\nkind: Provider\nmetadata: {name: p}\nspec: {type: openai, model: m}\n"
AGENT = "---\napiVersion: loomd.dev/v1\nkind: Agent\nmetadata: {name: a}\nspec: {provider: p}\n"
UNUSED = "---\napiVersion: loomd.dev/v1\nkind: Memory\nmetadata: {name: m}\nspec: {}\n"
OLD = AGENT.replace("/v1", "/v1alpha1").replace("provider: p", "provider: p, maxSteps: 3")
SARIF = Path(__file__).parents[2] / ".venv/npm/node_modules/@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json"
"""The schema of SARIF 2.1.0, as a package for tests carries it; `make editor` fetches it."""
WRONG = GOOD + AGENT.replace("provider: p", "provider: q, tols: []") + GOOD.replace("apiV", "---\napiV", 1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the verb and return exit code, standard output and standard error."""
    code = run(["validate", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_valid_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A valid folder is counted, with its revision."""
    (folder / "p.yaml").write_text(GOOD)
    code, out, err = check(capsys)
    assert (code, err) == (0, "")
    assert re.fullmatch(r"1 object in 1 file is valid \(revision [0-9a-f]{12}\)\n", out)


def test_problem_is_shown_in_its_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A problem comes with position, line, caret, hint and the other place that matters."""
    (folder / "p.yaml").write_text(GOOD + GOOD.replace("openai", "opnai").replace("apiV", "---\napiV", 1))
    shown = (
        "p.yaml:8:18: error[duplicate-object]: Provider/p is already defined at p.yaml:3:18\n"
        "  |\n8 | metadata: {name: p}\n  |                  ^\n"
        "  hint: rename or remove one\n  see: p.yaml:3:18\n\n"
        'p.yaml:9:14: error[unknown-type]: Provider/p spec.type: there is no type "opnai"\n'
        "  |\n9 | spec: {type: opnai, model: m}\n  |              ^\n"
        '  hint: did you mean "openai"?\n'
    )
    assert check(capsys, "p.yaml") == (1, shown, "\n2 problems in 1 file\n")


@pytest.mark.parametrize(
    ("text", "arguments", "code"),
    [
        pytest.param(GOOD, [], 0, id="valid"),
        pytest.param(GOOD + AGENT, ["--strict"], 0, id="strict"),
        pytest.param(GOOD + AGENT + UNUSED, [], 0, id="warning"),
        pytest.param(GOOD + AGENT + UNUSED, ["--strict"], 3, id="strict-unused"),
        pytest.param(GOOD + OLD, [], 0, id="old-version"),
        pytest.param(GOOD + OLD, ["--strict"], 3, id="strict-old-version"),
        pytest.param(WRONG, [], 1, id="invalid"),
        pytest.param(WRONG + OLD, ["--strict"], 1, id="strict-invalid"),
        pytest.param(GOOD, ["absent"], 2, id="absent"),
        pytest.param(GOOD, ["--output", "xml"], 2, id="usage"),
        pytest.param(GOOD, ["-f", "m.yaml"], 0, id="file-option"),
        pytest.param(GOOD, ["m.yaml", "-f", ".", "./m.yaml"], 0, id="each-file-once"),
    ],
)
@pytest.mark.parametrize("form", ["text", "json", "sarif", "github"])
def test_exit_codes(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, arguments: list[str], code: int, form: str
) -> None:
    """0 valid, 1 invalid, 2 usage or input and output, 3 warnings under --strict, whatever the form."""
    (folder / "m.yaml").write_text(text)
    assert check(capsys, "-o", form, *arguments)[0] == code


def test_nothing_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An absent path and an empty folder are errors of input and output, and say what was looked for."""
    assert check(capsys, "absent") == (2, "", "error: absent: no such file or folder\n")
    assert check(capsys) == (2, "", "error: no manifests (*.yaml, *.yml) below .\n")
    del folder


def test_what_can_be_read_is_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One unreadable file hides nothing of the others; references that may lead into it are not called dangling."""
    (folder / "gone.yaml").symlink_to("nowhere.yaml")
    (folder / "m.yaml").write_text(WRONG)
    code, out, err = check(capsys)
    assert code == 2
    assert re.findall(r"error\[([\w-]+)\]", out) == ["unreadable", "unknown-field", "duplicate-object"]
    assert err == "\n3 problems in 1 file\n"


def test_standard_input(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads standard input."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a: [")))
    code, out, _ = check(capsys, "-")
    assert code == 1
    assert out.startswith("<stdin>:1:5: error[yaml-syntax]: expected a value\n")
    del folder


def test_json_says_everything(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON form has every part of every problem, warnings too."""
    (folder / "m.yaml").write_text(WRONG + OLD)
    report = json.loads(check(capsys, "-o", "json")[1])
    assert (report["valid"], report["files"], report["objects"], report["revision"]) == (False, 1, 0, "")
    codes = ["unresolved-reference", "unknown-field", "duplicate-object", "deprecated-version", "duplicate-object"]
    assert [one["code"] for one in report["problems"]] == codes
    assert report["problems"][1].pop("expected").startswith("one of description, provider, prompt")
    assert report["problems"][1] == {
        "code": "unknown-field",
        "file": "m.yaml",
        "line": 9,
        "column": 21,
        "pointer": "/spec/tols",
        "message": "Agent/a spec.tols: unknown field",
        "hint": 'did you mean "tools"?',
        "related": None,
        "object": "Agent/a",
        "got": 'the field "tols"',
        "severity": "error",
    }
    assert report["problems"][3]["severity"] == "warning"
    assert report["problems"][2]["related"] == {"file": "m.yaml", "line": 3, "column": 18}


def test_github_annotations(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Errors and warnings become annotations of a pull request, escaped as workflow commands need it."""
    (folder / "a,b.yaml").write_text(GOOD.replace("model: m", 'model: m, "50%\\nx": 1') + OLD)
    _, out, err = check(capsys, "-o", "github")
    error, warning = out.splitlines()
    assert error.startswith(
        "::error file=a%2Cb.yaml,line=4,col=32,title=unknown-field::Provider/p spec.50%25\\nx: unknown"
    )
    assert warning.startswith("::warning file=a%2Cb.yaml,line=6,col=13,title=deprecated-version::Agent/a apiVersion: ")
    assert err == ""


def test_sarif_is_valid(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The SARIF form satisfies the published schema: rules with help, regions, related places, relative addresses."""
    if not SARIF.exists():
        pytest.skip("the schema of SARIF is not installed: make editor")
    (folder / "a b.yaml").write_text(WRONG + OLD)
    log = json.loads(check(capsys, "-o", "sarif")[1])
    jsonschema.Draft4Validator(json.loads(SARIF.read_text("utf-8"))).validate(log)
    result, rules = log["runs"][0]["results"][2], log["runs"][0]["tool"]["driver"]["rules"]
    assert result["ruleId"] == rules[result["ruleIndex"]]["id"] == "duplicate-object"
    assert rules[result["ruleIndex"]]["help"]["text"] == CODES["duplicate-object"].help
    assert result["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "a%20b.yaml"},
        "region": {"startLine": 13, "startColumn": 18},
    }
    assert result["relatedLocations"][0]["physicalLocation"]["region"] == {"startLine": 3, "startColumn": 18}
    assert {one["level"] for one in log["runs"][0]["results"]} == {"error", "warning"}


def test_sarif_of_what_has_no_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that cannot be read has no region; a valid set has no result; both are valid SARIF."""
    if not SARIF.exists():
        pytest.skip("the schema of SARIF is not installed: make editor")
    validator = jsonschema.Draft4Validator(json.loads(SARIF.read_text("utf-8")))
    (folder / "m.yaml").write_text(GOOD)
    log: dict[str, Any] = json.loads(check(capsys, "-o", "sarif")[1])
    validator.validate(log)
    assert log["runs"][0]["results"] == []
    (folder / "gone.yaml").symlink_to("nowhere.yaml")
    log = json.loads(check(capsys, "-o", "sarif", str(folder))[1])
    validator.validate(log)
    place = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": (folder / "gone.yaml").as_uri()}}


Ran = tuple[str, str]


@pytest.fixture
def at_terminal(folder: Path) -> Callable[..., Ran]:
    """Return a function that runs a verb with one of its streams at a terminal, and returns what both got."""

    def ran(*arguments: str, stream: str = "stdout", **variables: str) -> Ran:
        master, slave = pty.openpty()
        streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: slave}
        environment = {"PATH": os.environ["PATH"], "TERM": "xterm", **variables}
        command = [sys.executable, "-m", "loomd", *arguments]
        with subprocess.Popen(command, cwd=folder, env=environment, **streams) as process:  # noqa: S603  # ours
            os.close(slave)
            piped = (process.stderr if stream == "stdout" else process.stdout) or io.BytesIO()
            other = piped.read().decode()
        try:
            shown = os.read(master, 1 << 16).decode()
        except OSError:  # nothing was written before the other side was closed
            shown = ""
        os.close(master)
        return (shown, other) if stream == "stdout" else (other, shown)

    return ran


RED = "\x1b[31;1merror\x1b[0m"


def test_colours_at_a_terminal(folder: Path, at_terminal: Callable[..., Ran]) -> None:
    """Problems are coloured where a terminal shows them, and only there: standard output here, standard error there."""
    (folder / "m.yaml").write_text(WRONG)
    out, err = at_terminal("validate")
    assert out.count(RED) == 3
    assert "\x1b" not in err
    assert "\x1b" not in at_terminal("validate", stream="stderr")[0]
    out, err = at_terminal("convert", "-f", "absent.yaml", stream="stderr")
    assert "\x1b" not in out + err
    (folder / "bad.yaml").write_text("a: [")
    assert RED in at_terminal("convert", "-f", "bad.yaml", stream="stderr")[1]
    assert "\x1b" not in at_terminal("convert", "-f", "bad.yaml")[1]


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["no-color", "dumb"])
def test_colours_are_declined(folder: Path, at_terminal: Callable[..., Ran], variables: dict[str, str]) -> None:
    """`NO_COLOR` and a dumb terminal get plain text, the same that a pipe gets."""
    (folder / "m.yaml").write_text(WRONG)
    out, _ = at_terminal("validate", **variables)
    assert "\x1b" not in out
    assert out.startswith('m.yaml:9:18: error[unresolved-reference]: Agent/a spec.provider: no Provider "q"\r\n')


def test_frames_stay_in_place(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The caret stands under the value, behind tabs and wide lines too; what no terminal should show is replaced."""
    (folder / "m.yaml").write_text(GOOD.replace("model: m", 'model: "\u202e"\t,\tmodle: m'))
    frame = check(capsys)[1].splitlines()[1:4]
    assert frame == [
        "  |",
        '4 | spec: {type: openai, model: "?"\t,\tmodle: m}',
        "  |                                \t \t^",
    ]
    (folder / "m.yaml").write_text(GOOD.replace("type: openai", f"type: openai,{' ' * 200}modle: m"))
    assert len(check(capsys)[1].splitlines()) == 2, "a frame that wide helps nobody"


@pytest.mark.parametrize("name", ["gone/m.yaml", "pipe", "folder", "null\0byte", "m.yaml"])
def test_no_frame_of_what_is_not_here(folder: Path, name: str) -> None:
    """A problem of a file that is elsewhere, or holds no such line, is told without its line."""
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "m.yaml").touch()
    told = Problem(Position(name, 1, 1), "invalid-value", "it is wrong", hint="mend it")
    assert render([told]).splitlines() == [f"{name}:1:1: error[invalid-value]: it is wrong", "  hint: mend it"]


def test_a_fault_of_a_template_is_shown_in_its_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Inside a block the frame shows the line of the text, with the caret under the name."""
    (folder / "m.yaml").write_text(GOOD + AGENT.replace("{provider: p}", "\n  provider: p\n  prompt: |\n    You\n"))
    with (folder / "m.yaml").open("a") as file:
        file.write("    are {{ agnet }}.\n")
    assert check(capsys)[1].splitlines()[1:4] == ["   |", "14 |     are {{ agnet }}.", "   |            ^"]


@pytest.mark.parametrize(
    ("at", "text"),
    [
        pytest.param(Position("a.yaml", 4, 2), "a.yaml:4:2", id="column"),
        pytest.param(Position("a.yaml", 4), "a.yaml:4", id="line"),
        pytest.param(Position("a.yaml"), "a.yaml", id="file"),
    ],
)
def test_a_place_says_what_is_known(at: Position, text: str) -> None:
    """Lines and columns count from 1, so that none is ever 0."""
    assert str(at) == text


@pytest.mark.parametrize("line", ["  apiKey: sesame-street", "  apiKey: [a, b, sesame]"], ids=["value", "behind"])
def test_a_caret_stays_on_the_line(line: str) -> None:
    """Where the line is hidden it points there, and never behind what is shown."""
    problem = Problem(Position("m.yaml", 1, line.index("sesame") + 1), "wrong-type", "it is wrong", "/spec/apiKey")
    *_, shown, caret = render([problem], texts={"m.yaml": line.encode()}).splitlines()
    assert shown == "1 |   apiKey: (hidden)"
    assert caret == "  |           ^"


SOURCE = """\
apiVersion: loomd.dev/v1
kind: GitSource
metadata: {name: published}
spec:
  url: https://git.example.com/somebody/skills.git
"""
MANIFESTS = """\
  manifests: |
    apiVersion: loomd.dev/v1
    kind: Skill
    metadata: {name: published}
    spec: {directory: skills}
"""
USER = """\
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {description: answers, provider: p, skills: [NAME]}
---
"""
WAITS = 'Agent/ada spec.skills[0]: no Skill "{}": it waits until there is one, which GitSource/published may bring'
NOWHERE = 'Agent/ada spec.skills[0]: no Skill "{}"'


@pytest.mark.parametrize(
    ("source", "name", "code", "severity", "message"),
    [
        (SOURCE + MANIFESTS, "published", 0, "warning", WAITS),
        (SOURCE, "anything", 0, "warning", WAITS),
        (SOURCE + MANIFESTS, "publishd", 1, "error", NOWHERE),
        ("", "published", 1, "error", NOWHERE),
    ],
    ids=["declared", "may-come", "not-declared", "no-source"],
)
def test_what_a_source_may_bring_is_waited_for(
    folder: Path, capsys: pytest.CaptureFixture[str], source: str, name: str, code: int, severity: str, message: str
) -> None:
    """As the daemon takes it; what the manifests of the source do not declare, it does not bring."""
    (folder / "m.yaml").write_text(source + USER.replace("NAME", name) + GOOD)
    found, out, _ = check(capsys, "-o", "json")
    told = json.loads(out)["problems"]
    assert [(one["severity"], one["message"]) for one in told] == [(severity, message.format(name))]
    assert (found, json.loads(out)["valid"]) == (code, code == 0)


def test_what_a_source_may_bring_hides_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong whatever it brings is told as wrong, beside what waits."""
    (folder / "m.yaml").write_text(SOURCE + USER.replace("NAME", "anything") + GOOD.replace("openai", "opnai"))
    code, out, _ = check(capsys, "-o", "json")
    told = json.loads(out)["problems"]
    assert (code, [(one["severity"], one["code"]) for one in told]) == (
        1,
        [("warning", "unresolved-reference"), ("error", "unknown-type")],
    )
