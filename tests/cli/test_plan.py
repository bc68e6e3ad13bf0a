"""plan, diff and apply at a real daemon: what they say, what they keep, and what they refuse."""

import json
import stat

import pytest
import yaml

from loomd.manifest.document import read_documents
from tests.cli.terminal import BOB, Folder, Terminal

TOOL = """\
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: look, namespace: SPACE}
spec: {type: python, file: look.py, function: look}
"""
LOOK = 'def look() -> str:\n    """Look."""\n    return "seen"\n'
OTHER = """\
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: other, namespace: SPACE}
spec: {type: scripted, replies: [{text: "yes", times: null}]}
"""
LITERAL = """\
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: remote, namespace: SPACE}
spec: {type: openai, model: m, apiKey: sesame-open}
"""
DOCS = """\
apiVersion: loomd.dev/v1
kind: Embedder
metadata: {name: words, namespace: SPACE}
spec: {type: hash}
---
apiVersion: loomd.dev/v1
kind: KnowledgeBase
metadata: {name: docs, namespace: SPACE}
spec:
  sources: [{type: files, path: documents}]
  embedder: words
"""


def test_a_plan_is_empty_once_it_is_applied(folder: Folder) -> None:
    """Before: everything is to be created, exit code 1. After: no changes, exit code 0, whatever defaults say."""
    planned = folder.loomd("plan", "-f", "manifests")
    assert planned.returncode == 1
    assert planned.stdout.splitlines()[:3] == [
        f"  + Provider/{folder.space}/script created",
        f"  + Agent/{folder.space}/ada created",
        f"  + Cluster/{folder.space}/team created",
    ]
    assert "3 to be created" in planned.stdout.splitlines()[-1]
    assert folder.apply().count(" created\n") == 3
    for verb in ("plan", "diff"):
        again = folder.loomd(verb, "-f", "manifests")
        assert again.returncode == 0, again.stdout
    folder.change("spec: {agents: [ada]}", "spec:\n  agents: [ada]\n  description: ''")
    assert folder.loomd("plan", "-f", "manifests").returncode == 0
    assert folder.apply().count(" unchanged\n") == 3


def test_a_change_is_shown_field_by_field_and_as_texts(folder: Folder) -> None:
    """Both verbs tell their part: fields and what follows, and both texts; neither changes anything."""
    folder.apply()
    before = folder.position()
    folder.change("answers everything", "answers all")
    folder.change("Answer briefly.", "Answer at length.")
    planned = folder.loomd("plan", "-f", "manifests")
    assert planned.returncode == 1
    assert 'spec.description  "answers everything" -> "answers all"  (new tasks)' in planned.stdout
    assert "        - Answer briefly.\n        + Answer at length.\n" in planned.stdout
    assert f"Agent/{folder.space}/ada behaves differently" in planned.stdout
    compared = folder.loomd("diff", "-f", "manifests")
    assert compared.returncode == 1
    assert compared.stdout.splitlines()[:2] == [
        f"--- serving/Agent/{folder.space}/ada",
        f"+++ wanted/Agent/{folder.space}/ada",
    ]
    assert "-  description: answers everything\n+  description: answers all\n" in compared.stdout
    assert "-    Answer briefly.\n+    Answer at length.\n" in compared.stdout
    assert folder.position() == before
    assert folder.description() == "answers everything"


def test_a_plan_says_what_it_means(folder: Folder) -> None:
    """Learned scores, pinned tasks and indexes that are built anew are told beside the fields."""
    (folder.path / "documents").mkdir()
    (folder.path / "documents" / "a.md").write_text("# A\n\nText.\n")
    folder.write("docs.yaml", DOCS)
    folder.apply()
    folder.said("submit", "-n", folder.space, "--wait", "what is it?")
    task = folder.said("submit", "-n", folder.space, "something slow").strip()
    folder.change("Answer briefly.", "Answer at length.")
    folder.change("embedder: words", "embedder: words\n  chunk: {size: 100}", "docs.yaml")
    told = folder.loomd("plan", "-f", "manifests", "-o", "json")
    consequences = {one["type"]: one["message"] for one in json.loads(told.stdout)["consequences"]}
    assert {"behaviour", "scores", "tasks", "index"} <= consequences.keys()
    assert "goes on from what it had learned, which counts less" in consequences["scores"]
    assert task in consequences["tasks"]
    folder.said("cancel", "-n", folder.space, task)


def test_what_may_be_secret_is_hidden(folder: Folder) -> None:
    """A value whose name says that it may be a secret is shown by neither verb, only that it differs."""
    folder.change("labels: {team: docs}  # hers", "annotations: {example.com/token: sesame-1}")
    folder.change("answers everything", "asks https://ada:sesame-3@example.com/?key=sesame-4")
    folder.apply()
    folder.change("sesame-1", "sesame-2")
    folder.change("sesame-4", "sesame-5")
    for verb in ("plan", "diff"):
        ran = folder.loomd(verb, "-f", "manifests")
        assert ran.returncode == 1
        assert "sesame" not in ran.stdout + ran.stderr
        assert "(hidden" in ran.stdout
    assert "(hidden, before)" in folder.loomd("diff", "-f", "manifests").stdout
    assert "sesame" not in folder.said("get", "agent", "ada", "-n", folder.space, "-o", "yaml")


def test_another_content_of_a_named_file_is_a_change(folder: Folder) -> None:
    """The manifest is the same and the file that it names is not: plan and diff say so."""
    (folder.path / "look.py").write_text(LOOK)
    folder.write("tool.yaml", TOOL)
    folder.apply()
    (folder.path / "look.py").write_text(LOOK.replace("seen", "found"))
    for verb in ("plan", "diff"):
        ran = folder.loomd(verb, "-f", "manifests")
        assert ran.returncode == 1
        assert "a file that it names has other contents" in ran.stdout
    (folder.path / "look.py").write_text(LOOK)


def test_a_kept_plan_is_applied_once(folder: Folder) -> None:
    """Only its owner may read it; it does what was planned; the second time the state has moved."""
    ran = folder.loomd("plan", "-f", "manifests", "-o", "it.plan")
    assert ran.returncode == 1
    assert "kept in it.plan: loomd apply it.plan" in ran.stderr
    kept = folder.path.parent / "it.plan"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert folder.said("apply", "it.plan", "--dry-run").count(" created (server dry run)") == 3
    assert folder.said("apply", "it.plan").count(" created\n") == 3
    again = folder.loomd("apply", "it.plan")
    assert again.returncode == 1
    assert again.stderr.startswith("error: saved plan is stale: ")


@pytest.mark.parametrize("how", ["manifest", "new-manifest", "gone", "named-file", "state", "plan-itself"])
def test_a_kept_plan_is_refused_when_anything_moved(folder: Folder, how: str) -> None:
    """Whatever it was made of has changed: it is stale, and nothing is changed."""
    (folder.path / "look.py").write_text(LOOK)
    folder.write("tool.yaml", TOOL)
    assert folder.loomd("plan", "-f", "manifests", "--out", "it.plan", "-o", "json").returncode == 1
    kept = folder.path.parent / "it.plan"
    expected = "saved plan is stale"
    match how:
        case "manifest":
            folder.change("answers everything", "answers all")
        case "new-manifest":
            folder.write("bob.yaml", BOB)
        case "gone":
            (folder.path / "tool.yaml").unlink()
        case "named-file":
            (folder.path / "look.py").write_text(LOOK.replace("seen", "found"))
        case "state":
            folder.said("apply", "-f", "-", stdin=OTHER.replace("SPACE", f"{folder.space}-x"))
        case _:
            kept.write_text(kept.read_text().replace("answers everything", "answers all"))
            expected = "the saved plan was changed after it was written"
    before = folder.position()
    ran = folder.loomd("apply", "it.plan")
    assert ran.returncode == 1
    assert expected in ran.stderr
    assert folder.position() == before


def test_a_secret_as_text_is_refused_and_not_kept(folder: Folder) -> None:
    """Manifests with a literal secret are no plan, so that a kept one never holds any."""
    folder.write("http.yaml", LITERAL)
    ran = folder.loomd("plan", "-f", "manifests", "-o", "it.plan")
    assert ran.returncode == 2
    assert "sesame" not in ran.stdout + ran.stderr
    assert not (folder.path.parent / "it.plan").exists()


@pytest.mark.parametrize(
    ("form", "code", "says"),
    [
        pytest.param("yaml", 1, "action: created", id="yaml"),
        pytest.param("json", 1, '"action": "created"', id="json"),
        pytest.param("./json", 1, "3 to be created", id="file-called-json"),
        pytest.param("tfplan", 1, "3 to be created", id="file"),
        pytest.param(
            "jsno", 2, "no form 'jsno': did you mean \"json\"? For a file of that name write ./jsno", id="typo"
        ),
        pytest.param("manifests/team.yaml", 2, "is there and is no saved plan", id="manifest"),
        pytest.param("nowhere/it.plan", 2, "No such file or directory", id="no-folder"),
    ],
)
def test_a_form_or_a_file(form: str, code: int, says: str, folder: Folder) -> None:
    """`-o` takes a form or a file and never confuses them; a manifest is not overwritten."""
    text = (folder.path / "team.yaml").read_text()
    ran = folder.loomd("plan", "-f", "manifests", "-o", form)
    assert ran.returncode == code
    assert says in ran.stdout + ran.stderr
    assert (folder.path / "team.yaml").read_text() == text
    assert (folder.path.parent / form).exists() == (form in {"./json", "tfplan", "manifests/team.yaml"})


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        pytest.param(["manifests/team.yaml"], 1, "is no saved plan: for manifests, loomd apply -f", id="manifest"),
        pytest.param(["deep"], 1, "is no saved plan: for manifests, loomd apply -f", id="nested-too-deeply"),
        pytest.param(["nothing"], 2, "nothing: no such file", id="missing"),
        pytest.param([], 2, "expected manifests with -f, or one plan", id="neither"),
        pytest.param(["it.plan", "-f", "manifests"], 2, "expected manifests with -f, or one plan", id="both"),
        pytest.param(["it.plan", "--prune"], 2, "a plan says itself what is pruned", id="prune"),
        pytest.param(["-f", "empty"], 2, "no manifests", id="empty-folder"),
        pytest.param(["-f", "empty", "--prune"], 2, "nothing is done", id="prune-with-nothing"),
        pytest.param(["-f", "missing"], 2, "no such file or folder", id="no-folder"),
    ],
)
def test_what_cannot_be_applied(arguments: list[str], code: int, says: str, folder: Folder) -> None:
    """Whatever is no plan and no manifests is refused by name, before anything is asked of the daemon."""
    (folder.path.parent / "empty").mkdir()
    (folder.path.parent / "deep").write_text("[" * 100_000)
    ran = folder.loomd("apply", *arguments)
    assert ran.returncode == code
    assert says in ran.stderr


def test_all_of_one_call_serves_or_nothing(folder: Folder) -> None:
    """Two files that need each other come together in any order; when one is refused, the other is not taken either."""
    agent = folder.write("bob.yaml", BOB)
    both = ["-f", "manifests/bob.yaml", "-f", "manifests/team.yaml"]
    agent.write_text(agent.read_text().replace("provider: script", "provider: 7"))
    ran = folder.loomd("apply", *both)
    assert ran.returncode == 1
    assert "bob.yaml:4:" in ran.stderr
    assert folder.said("get", "all", "-n", folder.space, "-o", "name") == ""
    folder.write("bob.yaml", BOB)
    assert folder.said("apply", *both).count(" created\n") == 4
    sources = [one["metadata"]["name"] for one in json.loads(folder.said("get", "sources", "-o", "json"))["items"]]
    assert {str(folder.path / "bob.yaml"), str(folder.path / "team.yaml")} <= set(sources)


def test_a_file_and_its_folder_are_one_place(folder: Folder) -> None:
    """What was applied with its folder may be applied alone, and the other way round; given together it counts once."""
    folder.apply()
    folder.change("answers everything", "answers all")
    assert "changed: spec.description" in folder.said("apply", "-f", "manifests/team.yaml")
    folder.change("answers all", "answers much")
    assert "changed: spec.description" in folder.apply("-f", "manifests/team.yaml", "-f", "./manifests/")
    assert folder.description() == "answers much"


def test_another_place_takes_over_by_force_only(folder: Folder) -> None:
    """What one folder declares is not changed from standard input, unless that is insisted on."""
    folder.apply()
    text = (folder.path / "team.yaml").read_text().replace("answers everything", "answers all")
    ran = folder.loomd("apply", "-f", "-", stdin=text)
    assert ran.returncode == 1
    assert f"is declared by {folder.path}: change it there, or take it over with `loomd apply --force`" in ran.stderr
    assert folder.loomd("plan", "-f", "-", stdin=text).returncode == 2
    assert "changed: spec.description" in folder.said("apply", "-f", "-", "--force", stdin=text)


def test_what_is_not_declared_any_more_goes_only_when_asked(folder: Folder) -> None:
    """Without --prune it stays; with it, plan says what would go, and apply lets it go."""
    folder.write("bob.yaml", BOB)
    folder.apply()
    (folder.path / "bob.yaml").unlink()
    assert folder.loomd("plan", "-f", "manifests").returncode == 0
    bob = f"Agent/{folder.space}/bob"
    assert f"  - {bob} deleted" in folder.loomd("plan", "-f", "manifests", "--prune").stdout
    assert folder.apply("--prune", "--dry-run=server").endswith(f"{bob} deleted (server dry run)\n")
    assert "bob" in folder.said("get", "agents", "-n", folder.space, "-o", "name")
    assert folder.apply("--prune").endswith(f"{bob} deleted\n")


def test_a_dry_run_changes_nothing(folder: Folder) -> None:
    """The client looks at the files alone, without a daemon; the server does all but the swap; both say so."""
    nowhere = {"LOOMD_SOCKET": str(folder.path / "no.sock")}
    name = f"Agent/{folder.space}/ada"
    assert f"{name} valid (client dry run)" in folder.said("apply", "-f", "manifests", "--dry-run=client", **nowhere)
    sent = folder.said("apply", "-f", "manifests", "--dry-run=client", "-o", "yaml", **nowhere)
    assert folder.said("apply", "-f", "-", "--dry-run=client", "-o", "name", stdin=sent).splitlines()[1] == name
    listed = json.loads(folder.said("apply", "-f", "manifests", "--dry-run=client", "-o", "json", **nowhere))["items"]
    assert [one["kind"] for one in listed] == ["Provider", "Agent", "Cluster"]
    for option in ("--dry-run", "--dry-run=server"):
        assert f"{name} created (server dry run)" in folder.apply(option)
    assert folder.said("get", "all", "-n", folder.space, "-o", "name") == ""


def test_a_dry_run_at_the_daemon_opens_what_is_new(folder: Folder) -> None:
    """What is valid and cannot be opened is refused by the server's dry run as by apply; the client's cannot know."""
    (folder.path / "look.py").write_text(f"{LOOK}\nraise RuntimeError('at import')\n")
    folder.write("tool.yaml", TOOL)
    assert folder.loomd("apply", "-f", "manifests", "--dry-run=client").returncode == 0
    refused = folder.loomd("apply", "-f", "manifests", "--dry-run=server")
    assert refused.returncode == 1
    assert "at import" in refused.stderr
    assert folder.loomd("apply", "-f", "manifests").stderr == refused.stderr


def test_a_reference_that_only_the_daemon_knows_is_a_note(folder: Folder) -> None:
    """The client's dry run accepts what the daemon may have, and says so."""
    path = folder.write("bob.yaml", BOB)
    ran = folder.loomd("apply", "-f", str(path), "--dry-run=client")
    assert ran.returncode == 0
    assert "note: " in ran.stderr
    assert "only the daemon knows" in ran.stderr


def test_who_acts_is_in_the_managed_fields(folder: Folder) -> None:
    """--field-manager names the actor; the owner is the source."""
    folder.apply("--field-manager", "ci")
    fields = json.loads(folder.said("get", "agent", "ada", "-n", folder.space, "-o", "json"))["metadata"][
        "managedFields"
    ]
    assert fields[0]["manager"] == f"declared:{folder.path}"
    assert fields[0]["actor"] == "ci"


@pytest.mark.parametrize("form", ["json", "yaml", "name"])
def test_apply_prints_in_other_forms(form: str, folder: Folder) -> None:
    """JSON and YAML are what was done; name is one object per line."""
    told = folder.apply("-o", form)
    names = [
        f"{kind}/{folder.space}/{name}"
        for kind, name in (("Provider", "script"), ("Agent", "ada"), ("Cluster", "team"))
    ]
    if form == "name":
        assert told.splitlines() == names
    else:
        assert [one["object"] for one in yaml.safe_load(told)["changes"]] == names


def test_apply_waits_until_all_is_ready(folder: Folder) -> None:
    """With --wait every object is told once it is ready, and what is deleted once it is gone."""
    folder.write("bob.yaml", BOB)
    told = folder.apply("--wait", "--timeout", "20s")
    assert told.count(" condition met\n") == 4
    (folder.path / "bob.yaml").unlink()
    assert "/bob deleted\n" in folder.apply("--prune", "--wait")


def test_problems_are_told_with_their_lines(folder: Folder) -> None:
    """What the daemon refuses is shown as by validate: the line of the file, and what to write instead."""
    folder.change("description: answers", "descripton: answers")
    ran = folder.loomd("apply", "-f", "manifests")
    assert ran.returncode == 1
    assert "team.yaml:20:3: error[unknown-field]" in ran.stderr
    assert "20 |   descripton: answers" in ran.stderr
    assert 'did you mean "description"?' in ran.stderr


def test_a_reference_that_another_source_may_bring_is_a_warning(folder: Folder) -> None:
    """Beside other sources, a name of nothing is accepted, told, and never ready."""
    folder.change("provider: script", "provider: scrpt")
    ran = folder.loomd("apply", "-f", "manifests")
    assert ran.returncode == 0
    assert f"warning: Agent/{folder.space}/ada does not open until its references are there" in ran.stderr
    assert folder.loomd("apply", "-f", "manifests", "--wait").returncode == 4


def test_colours_only_at_a_terminal_that_wants_them(folder: Folder) -> None:
    """Green and red at a terminal; none in a pipe, under NO_COLOR, or at a dumb terminal."""
    assert "\x1b" not in folder.loomd("plan", "-f", "manifests").stdout
    for variables, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        terminal = Terminal(folder, "plan", "-f", "manifests", **variables)
        assert terminal.end() == 1
        assert ("\x1b[32m  +\x1b[0m" in terminal.text) == coloured
        assert ("\x1b[3" in terminal.text) == coloured


def test_plan_and_diff_with_colours_of_a_change(folder: Folder) -> None:
    """Removed lines are red and added ones are green."""
    folder.apply()
    folder.change("answers everything", "answers all")
    terminal = Terminal(folder, "diff", "-f", "manifests")
    assert terminal.end() == 1
    assert "\x1b[31m-  description: answers everything\x1b[0m" in terminal.text
    assert "\x1b[32m+  description: answers all\x1b[0m" in terminal.text


def test_spellings_of_a_path_are_one_source(folder: Folder) -> None:
    """With `..`, a dot or a slash at the end it is the same place; a link is a place of its own."""
    folder.apply()
    home = folder.path.parent
    (home / "other").mkdir()
    for spelling in ("./manifests", "manifests/", "other/../manifests", str(folder.path)):
        assert folder.said("apply", "-f", spelling).count(" unchanged\n") == 3
    (home / "current").symlink_to("manifests")
    (home / "other" / "deep").symlink_to(folder.path.parent)
    assert folder.loomd("apply", "-f", "current").returncode == 1
    assert folder.said("apply", "-f", "other/deep/../" + home.name + "/manifests").count(" unchanged\n") == 3
    folder.said("apply", "-f", "current", "--force")
    sources = [one["metadata"]["name"] for one in json.loads(folder.said("get", "sources", "-o", "json"))["items"]]
    assert str(home / "current") in sources
    assert folder.said("describe", "source", "current").startswith(f"Source:           {home}/current\n")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(["apply", "-f", "manifests"], 1, id="apply"),
        pytest.param(["apply", "-f", "manifests", "--dry-run=client"], 1, id="client"),
        pytest.param(["plan", "-f", "manifests"], 2, id="plan"),
    ],
)
@pytest.mark.parametrize("form", ["json", "yaml"])
def test_problems_come_in_the_form_that_was_asked_for(
    arguments: list[str], code: int, form: str, folder: Folder
) -> None:
    """A program reads what is wrong from standard output, as the API tells it, and no frames for people."""
    folder.change("description: answers", "describtion: answers")
    ran = folder.loomd(*arguments, "-o", form)
    assert (ran.returncode, ran.stderr) == (code, "")
    error = (json.loads if form == "json" else yaml.safe_load)(ran.stdout)["error"]
    assert error["type"] == "Problems"
    ours = [one for one in error["problems"] if f"/{folder.space}/" in one["object"]]  # beside what others left
    assert [(one["code"], one["object"]) for one in ours] == [("unknown-field", f"Agent/{folder.space}/ada")]


@pytest.mark.parametrize(
    "arguments",
    [["get", "agent", "ada"], ["apply", "-f", "manifests", "--dry-run=client"], ["plan", "-f", "manifests"]],
    ids=lambda arguments: arguments[0],
)
def test_what_is_printed_as_json_reads_back(arguments: list[str], folder: Folder) -> None:
    """A line break of Unicode in a text is printed so that JSON readers, and ours of YAML, find it there again."""
    folder.apply()
    folder.change("answers everything", '"one\\u2028two\\u0085three"')
    if arguments[0] == "get":
        folder.apply()
        arguments = [*arguments, "-n", folder.space]
    printed = folder.loomd(*arguments, "-o", "json").stdout
    (document,), problems = read_documents(printed.encode(), "it.json")
    assert problems == []
    assert document.value == json.loads(printed)
    assert "one\\u2028two\\u0085three" in printed
