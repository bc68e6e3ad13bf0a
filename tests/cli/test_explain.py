"""`loomd schema` and `loomd explain`: what a kind and its fields are, from the schema that checks them."""

import json

import jsonschema
import pytest

from loomd.cli.main import run
from loomd.manifest.kind import find_kinds
from loomd.manifest.outline import Node, outline
from loomd.manifest.schema import generate_combined, generate_schema


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a verb that must succeed and return what it prints."""
    assert run(arguments) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", ["agents", "agent", "Agent", "AGENT"])
def test_schema_of_a_kind(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """A kind is found by name or plural, in any case, and its whole schema is printed."""
    assert json.loads(said(capsys, "schema", name)) == generate_schema(find_kinds()["Agent"])


def test_schema_of_all_kinds_and_of_the_daemon(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a kind, one schema covers all of them; the settings of the daemon have one too."""
    assert json.loads(said(capsys, "schema")) == generate_combined(find_kinds())
    daemon = json.loads(said(capsys, "schema", "daemon"))
    assert daemon["$id"] == "https://loomd.dev/schemas/v1/daemon.json"
    jsonschema.Draft202012Validator(daemon).validate({"log": {"level": "debug"}})


def test_explain_lists_the_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a path the kinds are listed with one sentence each."""
    lines = said(capsys, "explain").splitlines()
    assert [line.split()[0] for line in lines] == list(find_kinds())
    said_of_tools = "Something an agent can do: a Python function, a web service, a command, or many tools at once."
    assert lines[-1] == f"Tool           {said_of_tools}"


def test_explain_a_field(capsys: pytest.CaptureFixture[str]) -> None:
    """A field is told with type, default, example, when a change takes effect, text and the fields in it."""
    text = said(capsys, "explain", "agent.spec.limits.time")
    assert text == (
        "kind:     Agent (loomd.dev/v1)\nfield:    spec.limits.time\ntype:     duration such as 30s\n"
        'default:  "5m"\nexample:  "30s"\nchanges:  act at once, on running tasks too\n\nWall-clock time.\n'
    )
    whole = said(capsys, "explain", "agents.spec.limits")
    assert '\n  time (duration such as 30s, default "5m")\n      Wall-clock time.\n' in whole


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        pytest.param("agent", ["fields:", "spec (Spec, required)"], id="kind"),
        pytest.param("agent.metadata.labels", ["type:     mapping to text", "Short key-value pairs"], id="metadata"),
        pytest.param("agent.spec.provider", ["(required)", "type:     name of a Provider\n"], id="reference"),
        pytest.param("agent.spec.tools", ["type:     list of Tool names\n", "default:  []"], id="references"),
        pytest.param("agent.spec.prompt", ["type:     template\n"], id="template"),
        pytest.param("provider.spec", ["types:", "  openai\n", "loomd explain provider.spec.<type>"], id="types"),
        pytest.param("provider.spec.openai.model", ["field:    spec.openai.model (required)"], id="of-a-type"),
        pytest.param("provider.spec.model", ["field:    spec.model"], id="of-any-type"),
        pytest.param("cluster.spec.match.auction.weights.history", ["number from 0 to 1"], id="deep"),
        pytest.param("cluster.spec.adapt.alpha", ["type:     number above 0 to 1\n"], id="without-its-bound"),
        pytest.param(
            "provider.spec.type", ['"local"', "  local\n", "Chooses the type.\n", ".spec.<type>"], id="the-type"
        ),
        pytest.param("provider.spec.apiKey", ["only in:  anthropic, gemini, openai\n"], id="of-some-types"),
        pytest.param("daemon", ["kind:     daemon\n", "  quietWindow ("], id="settings"),
        pytest.param("daemon.limits.bodyTime", ["field:    limits.bodyTime\n", "duration"], id="of-settings"),
        pytest.param("tool.spec.http.headers", ["type:     mapping to text or Secret"], id="union"),
        pytest.param("tool.spec.http.method", ['"GET" or "POST"'], id="choices"),
        pytest.param("gitsource.spec.ref.semver", [">=1.2 <2"], id="example"),
        pytest.param("cluster.spec.agentSelector.matchExpressions.operator", ['"In"'], id="through-a-list"),
    ],
)
def test_explain_walks(capsys: pytest.CaptureFixture[str], path: str, parts: list[str]) -> None:
    """A path leads through fields, types, lists and mappings."""
    text = said(capsys, "explain", path)
    assert [part for part in parts if part not in text] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["schema", "agnet"], 'no kind agnet: did you mean "Agent"?'),
        (["explain", "agnet.spec"], 'no kind agnet: did you mean "Agent"?'),
        (["schema", "zzz"], f"no kind zzz: one of {', '.join([*find_kinds(), 'daemon'])}"),
        (["explain", "daemno"], 'no kind daemno: did you mean "daemon"?'),
        (["explain", "daemon.limit"], "daemon: no field limit"),
        (["explain", "agent.spec.limit"], 'agent.spec: no field limit in spec: did you mean "limits"?'),
        (["explain", "agent.limits"], "agent: no field limits: did you mean agent.spec.limits?"),
        (["explain", "provider.spec.opnai"], 'provider.spec: no field opnai in spec: did you mean "openai"?'),
        (
            ["explain", "provider.spec.openai.modle"],
            'provider.spec.openai: no field modle in openai: did you mean "model"?',
        ),
        (["explain", "agent.spec.limits.steps.x"], "agent.spec.limits.steps: no field x in steps: it has no fields"),
        (["explain", "agent.spec.zzz"], "agent.spec: no field zzz in spec: one of provider, description, prompt"),
        (["explain", "agent..limits"], "agent: no field  in Agent: one of apiVersion, kind, metadata, spec"),
    ],
    ids=str,
)
def test_a_wrong_step_names_the_closest(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    """What is not there is said with where the path ended and what may have been meant."""
    assert run(arguments) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


@pytest.mark.parametrize("name", find_kinds())
def test_every_field_can_be_explained(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Whatever a list of fields shows can be asked for."""
    pending: list[tuple[str, Node]] = [(name.lower(), outline(generate_schema(find_kinds()[name])))]
    asked = 0
    while pending:
        path, node = pending.pop()
        assert path.count(".") < 12, "a circle"
        assert node.description in " ".join(said(capsys, "explain", path).split()) or "\n" in node.description
        asked += 1
        pending += [(f"{path}.{one.name}", one) for one in [*node.fields(), *node.variants()]]
    assert asked > 8
