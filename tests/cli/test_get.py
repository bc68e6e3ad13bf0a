"""get and describe at a real daemon: names, labels, forms, and what changes while somebody looks."""

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from tests.cli.terminal import BOB, Folder, Terminal

HOSTILE = Path(__file__).parents[1] / "tools" / "hostile.py"


@pytest.fixture
def team(folder: Folder) -> Folder:
    """Return the folder, applied, with a second agent."""
    folder.write("bob.yaml", BOB)
    folder.apply()
    return folder


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(["agents"], "Agent/ada\nAgent/bob\n", id="plural"),
        pytest.param(["agent"], "Agent/ada\nAgent/bob\n", id="singular"),
        pytest.param(["Agent", "bob", "ada"], "Agent/bob\nAgent/ada\n", id="names"),
        pytest.param(["agents,providers"], "Agent/ada\nAgent/bob\nProvider/script\n", id="kinds"),
        pytest.param(["agent/SPACE/bob"], "Agent/bob\n", id="spelled-with-namespace"),
        pytest.param(["agent/bob", "provider/script"], "Agent/bob\nProvider/script\n", id="spelled-with-kind"),
        pytest.param(["all"], "Agent/ada\nAgent/bob\nCluster/team\nProvider/script\n", id="all"),
        pytest.param(["agents", "-l", "team=docs"], "Agent/ada\n", id="label"),
        pytest.param(["agents", "-l", "team!=docs"], "Agent/bob\n", id="no-label"),
        pytest.param(["tools"], "", id="none"),
    ],
)
def test_what_is_listed(arguments: list[str], told: str, team: Folder) -> None:
    """Kinds by any word, names in the order of asking, labels as kubectl has them; what is told may be asked."""
    named = told.replace("/", f"/{team.space}/")
    asked = [one.replace("SPACE", team.space) for one in arguments]
    assert team.said("get", *asked, "-n", team.space, "-o", "name") == named
    if named:
        assert team.said("get", *named.split(), "-o", "name") == named


def test_tables_say_more_when_wide(team: Folder) -> None:
    """The first columns are the same; a wide table adds the generation, the source and the place in the file."""
    narrow = team.said("get", "agents", "-n", team.space).splitlines()
    assert re.split(r"  +", narrow[0]) == ["NAME", "READY", "HEALTH", "AGE", "DESCRIPTION"]
    assert re.fullmatch(r"ada +True +unknown +\d+s +answers everything", narrow[1])
    wide = team.said("get", "agents", "-n", team.space, "-o", "wide").splitlines()
    assert re.split(r"  +", wide[0]) == [
        *("NAME", "READY", "HEALTH", "AGE", "GENERATION", "SOURCE", "DECLARED AT", "DESCRIPTION")
    ]
    assert f"{team.path}/team.yaml:12:1" in wide[1]


def test_a_table_of_all_namespaces_says_which(team: Folder) -> None:
    """-A adds the namespace as first column."""
    rows = [line.split() for line in team.said("get", "agents", "-A").splitlines()]
    assert rows[0][:2] == ["NAMESPACE", "NAME"]
    assert [team.space, "ada"] in [row[:2] for row in rows]


def test_forms_for_machines(team: Folder) -> None:
    """JSON and YAML say the same; one name is one object, more are a list."""
    asked = ["get", "agent", "ada", "-n", team.space, "-o"]
    one = json.loads(team.said(*asked, "json"))
    assert one == yaml.safe_load(team.said(*asked, "yaml"))
    assert one["kind"] == "Agent"
    assert [
        item["metadata"]["name"]
        for item in json.loads(team.said("get", "agents", "-n", team.space, "-o", "json"))["items"]
    ] == ["ada", "bob"]
    assert team.said(*asked, "jsonpath={.metadata.labels.team}") == "docs\n"
    ready = '{range .items[*]}{.metadata.name}={.status.conditions[?(@.type=="Ready")].status};{end}'
    assert team.said("get", "agents", "-n", team.space, "-o", f"jsonpath={ready}") == "ada=True;bob=True;\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["agnets"], "no kind 'agnets': did you mean \"agents\"?", id="kind"),
        pytest.param(
            ["xyz"],
            "no kind 'xyz': there are all, tasks, approvals, proposals, capabilities, blueprints, lineage, sessions, ",
            id="strange-kind",
        ),
        pytest.param(["agent", "adda"], 'did you mean "ada"?', id="name"),
        pytest.param(["task", "t1"], "'t1'", id="task"),
        pytest.param(["source", "/nowhere"], "no source '/nowhere'", id="source"),
        pytest.param(["revision", "99"], "no revision 99: kept are", id="revision"),
        pytest.param(["agent/ada", "bob"], "'bob': expected KIND/NAME like 'agent/ada'", id="mixed"),
        pytest.param(["task/"], "'task/': expected a name after the slash", id="no-name"),
        pytest.param(["agents,tools", "ada"], "several kinds take no names", id="kinds-and-name"),
        pytest.param(["tasks", "-l", "a=b"], "only objects have labels", id="labels-of-tasks"),
        pytest.param(["agent", "ada", "-A"], "a name stands in one namespace", id="name-everywhere"),
        pytest.param(["agents", "-l", "a b"], "label selector: expected", id="selector"),
        pytest.param(
            ["agents", "-o", "jsonpath"], "expected one of table, wide, json, yaml, name, jsonpath=EXPR", id="form"
        ),
        pytest.param(["agents", "-o", "jsonpath={.x"], "close the brace", id="jsonpath"),
        pytest.param(["revisions", "-w"], "loomd events -f", id="watch-revisions"),
        pytest.param(["agents,tools", "-w"], "expected one kind", id="watch-kinds"),
        pytest.param(["agent", "adda", "-w"], 'did you mean "ada"?', id="watch-name"),
    ],
)
def test_what_is_not_there_is_said_with_the_closest(arguments: list[str], says: str, team: Folder) -> None:
    """A word that is wrong is named, with what it may have been."""
    ran = team.loomd("get", *arguments, "-n", team.space)
    assert ran.returncode in {1, 2}
    assert says in ran.stderr
    assert ran.stdout == ""


def test_what_changes_is_shown_while_somebody_looks(team: Folder) -> None:
    """A row for what is there, one for every change, and one for what is gone; Ctrl-C ends it with 130."""
    terminal = Terminal(team, "get", "agents", "-n", team.space, "-w")
    terminal.until("helps")
    team.change("description: helps", "description: helps much", "bob.yaml")
    team.apply()
    terminal.until("helps much")
    team.said("delete", "agent", "bob", "-n", team.space)
    terminal.until("Deleted")
    terminal.press("\x03")
    assert terminal.end() == 130
    rows = [line.split() for line in terminal.text.splitlines()]
    assert [row[:2] for row in rows if row[:1] in (["NAME"], ["bob"])] == [
        ["NAME", "READY"],
        ["bob", "True"],
        ["bob", "True"],
        ["bob", "Deleted"],
    ]


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("json", r'^\{"apiVersion".*"answers all"'),
        ("name", r"^Agent/\S+/ada\r?$"),
        ("jsonpath={.spec.description}", "^answers all"),
        ("yaml", "^  description: answers all"),
    ],
    ids=["json", "name", "jsonpath", "yaml"],
)
def test_a_watch_prints_every_form(form: str, pattern: str, team: Folder) -> None:
    """Machines get one line, name or document per change."""
    terminal = Terminal(team, "get", "agent/ada", "-n", team.space, "-w", "-o", form)
    terminal.until("ada" if form != "jsonpath={.spec.description}" else "answers everything")
    team.change("answers everything", "answers all")
    team.apply()
    terminal.until("answers all" if form != "name" else "ada\r\nAgent/")
    terminal.press("\x03")
    assert terminal.end() == 130
    assert re.search(pattern, terminal.text, re.MULTILINE)


def test_tasks_sources_and_revisions_have_their_columns(team: Folder) -> None:
    """What is no object is listed like one."""
    team.said("submit", "-n", team.space, "--wait", "what is it?")
    tasks = team.said("get", "tasks", "-n", team.space).splitlines()
    assert tasks[0].split() == ["TASK", "PHASE", "AGENT", "REWARD", "AGE", "GOAL"]
    assert "Succeeded" in tasks[1]
    sources = team.said("get", "sources", "-o", "wide")
    assert re.search(rf"{team.path} +apply +True", sources)
    revisions = team.said("get", "revisions").splitlines()
    assert revisions[0].split() == ["NUMBER", "REVISION", "AGE", "CAUSE", "SOURCE", "CHANGES"]
    assert " * " in revisions[1]
    both = team.said("get", "all", "-n", team.space)
    assert "\n\nTASK" in both


def test_a_git_source_says_whether_it_is_suspended(team: Folder) -> None:
    """One that its manifest suspends is listed as that, with the address that it would follow."""
    head = f"apiVersion: loomd.dev/v1\nkind: GitSource\nmetadata: {{name: off, namespace: {team.space}}}\n"
    team.write("off.yaml", f"{head}spec: {{url: 'file:///nowhere', suspend: true}}\n")
    team.apply()
    rows = [re.split("  +", line) for line in team.said("get", "gitsources", "-n", team.space).splitlines()]
    assert rows[0] == ["NAME", "READY", "SUSPENDED", "URL", "AGE"]
    assert rows[1][:4] == ["off", "Unknown (NotApplied)", "True", "file:///nowhere"]
    assert re.search(
        r"Suspended +True +.*by spec\.suspend", team.said("describe", "gitsource", "off", "-n", team.space)
    )


def test_a_text_cannot_steer_the_terminal(team: Folder) -> None:
    """Escapes in what a table shows are written out."""
    team.change("description: helps", 'description: "x\\e[2Jy"', "bob.yaml")
    team.apply()
    told = team.said("get", "agents", "-n", team.space) + team.said("describe", "agent", "bob", "-n", team.space)
    assert "\x1b" not in told


def test_an_object_is_described_in_full(team: Folder) -> None:
    """Identity, place, spec, conditions with their age, relations both ways, scores, owners and history."""
    team.said("submit", "-n", team.space, "--wait", "what is it?")
    team.change("answers everything", "answers all")
    team.apply("--field-manager", "ci")
    told = team.said("describe", "agent/ada", "-n", team.space)
    for part in (
        "Generation:       2 (observed 2)",
        "Labels:           team=docs",
        f"Declared at:      {team.path}/team.yaml:12:1",
        "  description: answers all",
        f"  Provider/{team.space}/script (spec.provider)",
        f"  Cluster/{team.space}/team (spec.agents[0])",
        "Learned:\n  DOMAIN",
        f"declared:{team.path}  ci",
    ):
        assert part in told
    assert re.search(r"\n  Ready +True +\d+s +Serving", told)
    assert re.search(
        r"\n  \d+ +\d+s +apply +Agent/\S+/ada changed: spec.description\n  \d+ +\d+s +apply +\S+ created", told
    )


def test_tasks_sources_and_revisions_are_described(team: Folder) -> None:
    """A task with its phases, a source with its attempts, a revision with its files."""
    team.said("submit", "-n", team.space, "--wait", "what is it?")
    task = team.said("get", "tasks", "-n", team.space, "-o", "name").strip()
    assert "The answer is 42." in team.said("describe", task, "-n", team.space)
    source = team.said("describe", "source", "manifests")
    assert "Attempts:\n  REVISION" in source
    assert f"  Agent/{team.space}/ada" in source
    number = str(team.position())
    revision = team.said("describe", "revision", number)
    assert f"Revision:         {number} (serves)" in revision
    assert "  bob.yaml" in re.sub(r" +", "  ", revision)


def test_several_are_described_one_after_another(team: Folder) -> None:
    """By labels, or all of a kind."""
    assert team.said("describe", "agents", "-n", team.space).count("Name: ") == 2
    assert team.said("describe", "agents", "-n", team.space, "-l", "team=docs").count("Name: ") == 1
    assert team.loomd("describe", "agents", "-n", "nowhere").returncode == 2


def test_a_selector_that_is_none_is_a_usage_error(team: Folder) -> None:
    """It is refused before anything is asked, as any other option: 2."""
    ran = team.loomd("get", "agents", "-l", "a b", "-n", team.space)
    assert ran.returncode == 2
    assert "'-l' / '--selector': label selector: expected" in ran.stderr


@pytest.mark.parametrize(("short", "plural"), [("kb", "knowledgebases"), ("gs", "gitsources")])
def test_long_kinds_have_a_short_name(short: str, plural: str, team: Folder) -> None:
    """What is long to type may be said short."""
    found, wanted = (team.loomd("get", kind, "-n", team.space) for kind in (short, plural))
    assert (found.returncode, found.stderr) == (wanted.returncode, wanted.stderr) == (0, wanted.stderr)


def test_a_place_that_declares_nothing_any_more_is_no_source(folder: Folder) -> None:
    """What was applied by hand and is all deleted leaves no source behind."""
    folder.said("apply", "-f", "-", stdin=(folder.path / "team.yaml").read_text())
    assert "\n-  " in folder.said("get", "sources")
    folder.said("delete", "-f", "manifests")
    assert "\n-  " not in folder.said("get", "sources")


def test_a_task_elsewhere_says_how_to_find_it(team: Folder) -> None:
    """The id alone does not lead to a task of another namespace, so the spelling that does is told with it."""
    ran = team.loomd("submit", "hello", "-n", team.space)
    task = ran.stdout.strip()
    assert ran.stderr == f"in namespace {team.space}: loomd describe task/{team.space}/{task}\n"
    assert f" {task}\n" in team.said("describe", f"task/{team.space}/{task}")


def test_the_tools_of_a_set(folder: Folder) -> None:
    """How each tool of a server stands is shown, and what changed comes back once its pin is in the manifest."""
    file = folder.path / "tools.json"
    tool = {"name": "echo", "description": "Says it again.", "inputSchema": {"type": "object"}}
    file.write_text(json.dumps([tool]), encoding="utf-8")
    command = f"command: {json.dumps(sys.executable)}, args: {json.dumps([str(HOSTILE), 'plain', str(file)])}"
    manifest = (
        "apiVersion: loomd.dev/v1\nkind: Tool\nmetadata: {name: desk, namespace: SPACE}\n"
        f"spec: {{type: mcp, {command}, refresh: 20ms, stopTimeout: 200ms, exclude: []}}\n"
    )
    folder.write("desk.yaml", manifest)
    folder.apply()
    shown = folder.said("describe", "tool/desk", "-n", folder.space)
    assert re.search(r"^ +echo +desk_echo +Offered +external +[0-9a-f]{32}$", shown, re.MULTILINE)
    file.write_text(json.dumps([{**tool, "description": "Says it twice."}]), encoding="utf-8")
    folder.said("wait", "tool/desk", "-n", folder.space, "--for", "condition=Degraded", "--timeout", "20s")
    shown = folder.said("describe", "tool/desk", "-n", folder.space)
    drifted = re.search(
        r"^ +echo +desk_echo +Drifted +external +([0-9a-f]{32}) +its server says something", shown, re.MULTILINE
    )
    assert drifted is not None, shown
    assert "What echo says of itself:" in shown
    assert "  -description: Says it again.\n  +description: Says it twice.\n" in shown
    assert re.search(
        r"^desk +True, degraded \(ToolsDrifted\) +mcp", folder.said("get", "tools", "-n", folder.space), re.MULTILINE
    )
    folder.change("exclude: []", f"pins: {{echo: '{drifted[1]}'}}", "desk.yaml")
    folder.apply()
    folder.said("wait", "tool/desk", "-n", folder.space, "--for", "condition=Degraded=False", "--timeout", "20s")
    assert " Offered " in folder.said("describe", "tool/desk", "-n", folder.space)


def test_where_a_provider_calls(folder: Folder) -> None:
    """Where its calls go and how is shown; of one that calls nobody nothing."""
    manifest = (
        "apiVersion: loomd.dev/v1\nkind: Provider\nmetadata: {name: far, namespace: SPACE}\n"
        "spec: {type: openai, model: m, baseUrl: 'http://127.0.0.1:9/v1'}\n"
    )
    folder.write("far.yaml", manifest)
    folder.apply()
    shown = folder.said("describe", "provider/far", "-n", folder.space)
    assert (
        "Calls:\n  POST http://127.0.0.1:9/v1/chat/completions\n"
        "  speaks chat completions, carried by loomd itself (client: http)\n  key: none\n  proxy: none\n"
    ) in shown
    assert "Calls:" not in folder.said("describe", "provider/script", "-n", folder.space)
