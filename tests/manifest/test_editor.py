"""What an editor shows: the YAML language server, given what `loomd init` writes, completes, explains and refuses."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from loomd.cli.init import _with_modeline
from loomd.cli.main import run
from tests.manifest.corpus import BAD, GOOD, by_name, input_of, problems_of
from tests.manifest.editor import SERVER, Editor, editing

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.yaml"))
FROM_SCHEMA = {
    *("wrong-type", "unknown-field", "missing-field", "invalid-value", "out-of-range"),
    *("unknown-kind", "unknown-type", "unknown-api-version"),
}
"""Codes of what a schema can know."""
FROM_TEXT = {"yaml-syntax", "duplicate-key", "custom-tag"}
"""Codes of what every reader of YAML tells; it may tell more of the same document."""
DIFFERENT = {
    "inline-schemas": "it takes any JSON Schema inside a manifest",
    "schedules": "it knows no calendar and no time zones",
    "git-own-manifests": "manifests within a manifest are text to it",
    "agent-loop": "names of loomd's own tools are checked behind the schema",
    "interceptors": "patterns are compiled behind the schema",
    "expectations": "patterns and files are looked at behind the schema",
    "filled-parameters": "further fields are any behind the schema",
    "misspelled-beside": "schemas and expressions are looked at behind the schema",
    "locked-paths": "what a path names is looked for behind the schema",
    "mcp-servers": "what belongs to one way of reaching a server is checked behind the schema",
    "python-sandbox": "what belongs to a sandbox is checked behind the schema",
    "shell": "placeholders are compared with parameters behind the schema",
    "skill-folders": "the files of skills are read behind the schema",
    "skill-tool-name": "names of loomd's own tools are checked behind the schema",
    "skill-triggers": "patterns are compiled behind the schema",
    "tasks": "files are read, and fields are compared, behind the schema",
    "tool-settings": "effects are compared with what they allow behind the schema",
    "unknown-only-type": "what stands beside a type that it does not know is held to the only one there is",
    "alias-as-key": "its parser takes an alias as a key, and finds nothing in it",
    "control-character": "its parser takes the character",
    "key-as-alias": "it looks at the value that is not there",
    "kind-misspelled": "without a kind it knows no fields",
    "merge-key": "its parser takes a merge key",
    "alias-bomb": "an editor has no limits",
    "alias-too-deep": "an editor has no limits",
    "colon-without-space": "its parser points at the line where the value begins",
    "complex-key": "its parser takes any key",
    "git-addresses": "what belongs to an address is checked behind the schema",
    "hexadecimal-too-large": "its parser takes any number",
    "openapi-documents": "what a document of another kind holds is checked behind the schema",
    "http-placeholders": "placeholders are compared with parameters behind the schema",
    "indentation": "its parser points at the line where the value begins",
    "hybrid-range": "a JSON Schema cannot compare two fields",
    "integer-as-float": "10.0 is an integer for a JSON Schema",
    "knowledge-sources": "what belongs to an address is checked behind the schema",
    "key-in-brackets": "it does not look at a key without a value",
    "nested-union": "it looks at an empty document, which loomd passes over",
    "judge-twice": "a JSON Schema cannot compare the items of a list",
    "old-version-fields": "an editor knows today's form only",
    "rule-over-two-fields": "a JSON Schema cannot compare two fields",
    "too-deep": "an editor has no limits",
    "tool-parameters": "a schema in a manifest is checked behind the schema of the manifest",
    "weights-do-not-sum": "a JSON Schema cannot add",
    "whole-numbers": "1e3 is an integer for a JSON Schema",
}
"""Cases of which an editor tells something else, and why."""
COMMENTED = {
    "old-version": "an editor knows today's form only",
    "several-documents": "it looks at an empty document, which loomd passes over",
}
"""Good cases in which an editor underlines something, and why."""
AGENT = """\
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: a}
spec:
  provider: p
  limits:
    steps: 3
"""
PROVIDER = """\
---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: p}
spec:
  type: openai
  model: m
"""
CHOICES = """\
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: c}
spec:
  agents: [a]
  merge: \n\
  match:
    type: \n\
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as `loomd init` leaves it."""
    made = tmp_path_factory.mktemp("editor") / "library"
    assert run(["init", str(made)]) == 0
    return made


@pytest.fixture(scope="module")
def editor(folder: Path) -> Iterator[Editor]:
    """Return an editor that shows the folder."""
    if shutil.which("node") is None or not SERVER.exists():
        pytest.skip("the YAML language server is not installed: make editor")
    with editing(folder) as found:
        yield found


@pytest.fixture(scope="module")
def told(editor: Editor) -> dict[Path, set[int]]:
    """Return the lines with errors and warnings of all examples and of the corpus, each file opened once."""
    texts = {f"{number}.yaml": shown(path) for number, path in enumerate([*EXAMPLES, *GOOD, *BAD])}
    diagnostics = editor.open(texts)
    lines = [
        {one["range"]["start"]["line"] + 1 for one in found if one["severity"] < 3} for found in diagnostics.values()
    ]
    return dict(zip([*EXAMPLES, *GOOD, *BAD], lines, strict=True))


def shown(path: Path) -> str:
    """Return a file as an editor shows it, with the line that names the schema in each document."""
    return _with_modeline(input_of(path).decode())


def test_what_init_writes_is_accepted(editor: Editor, folder: Path) -> None:
    """The editor finds the schema beside the manifests and has nothing to say of them; neither has `loomd validate`."""
    texts = {path.name: path.read_text("utf-8") for path in folder.glob("*.yaml")}
    assert [one for found in editor.open(texts).values() for one in found] == []
    wrong = texts["knowledge.yaml"].replace("embedder: words", "embeder: words")
    assert [one["message"] for one in editor.open({"wrong.yaml": wrong})["wrong.yaml"]] == [
        'Missing property "embedder".',
        "Property embeder is not allowed.",
    ]
    assert run(["validate", "--strict", str(folder)]) == 0


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_examples_are_accepted(told: dict[Path, set[int]], path: Path) -> None:
    """The editor underlines nothing in any example."""
    assert told[path] == set()


@pytest.mark.parametrize("path", GOOD, ids=by_name)
def test_good_manifests_are_accepted(told: dict[Path, set[int]], path: Path) -> None:
    """The editor underlines nothing in a good manifest."""
    assert (told[path] == set()) is (path.stem not in COMMENTED), COMMENTED.get(path.stem)


@pytest.mark.parametrize("path", BAD, ids=by_name)
def test_bad_manifests_are_refused_in_the_same_lines(told: dict[Path, set[int]], path: Path) -> None:
    """The editor underlines the lines of which loomd complains, as far as the schema can know."""
    problems = problems_of(shown(path).encode())
    schema = {one.position.line for one in problems if one.code in FROM_SCHEMA}
    text = {one.position.line for one in problems if one.code in FROM_TEXT}
    same = text <= told[path] if text else schema == told[path]
    assert same is (path.stem not in DIFFERENT), (DIFFERENT.get(path.stem), schema | text, told[path])


def test_exceptions_are_cases() -> None:
    """Every exception names a case."""
    assert DIFFERENT.keys() <= {path.stem for path in BAD}
    assert COMMENTED.keys() <= {path.stem for path in GOOD}


@pytest.mark.parametrize(
    ("text", "line", "column", "offered", "text_of"),
    [
        pytest.param(AGENT + "    \n", 9, 5, {"cost", "time", "tokens"}, {"time": "Wall-clock time."}, id="nested"),
        pytest.param(AGENT + "    to\n", 9, 7, {"tokens"}, {}, id="begun"),
        pytest.param(AGENT + "  \n" + PROVIDER, 9, 3, {"prompt", "tools"}, {"tools": "Tools that the"}, id="spec"),
        pytest.param(AGENT + PROVIDER + "  \n", 17, 3, {"apiKey"}, {"apiKey": "Where the key"}, id="second-document"),
        pytest.param("kind: Tool\n\n", 3, 1, {"apiVersion", "metadata", "spec"}, {}, id="envelope"),
        pytest.param(CHOICES, 3, 7, {"Agent", "Tool"}, {"Tool": "Something an agent can do"}, id="kind"),
        pytest.param(CHOICES, 7, 10, {"model", "join"}, {}, id="choice"),
        pytest.param(CHOICES, 9, 11, {"auction", "static"}, {"auction": "Chooses this type: "}, id="type"),
    ],
)
def test_fields_and_values_are_completed(
    editor: Editor, text: str, line: int, column: int, offered: set[str], text_of: dict[str, str]
) -> None:
    """What may come next is offered with the text of its docstring, in every document of a file, and nothing else."""
    name = f"complete-{line}-{column}-{len(text)}.yaml"
    editor.open({name: _with_modeline(text)})
    found = editor.complete(name, line, column)
    assert found.keys() >= offered
    assert {one: found[one][: len(begin)] for one, begin in text_of.items()} == text_of
    foreign = {"prompt", "contextTokens"} if "apiKey" in offered else {"apiKey", "baseUrl"}
    assert not found.keys() & foreign, "fields of another kind or type"


@pytest.mark.parametrize(
    ("line", "column", "parts"),
    [
        pytest.param(3, 2, ["#### Kind", "Kind of the document", "* `Agent`: One mind"], id="kind"),
        pytest.param(6, 4, ["#### Provider", "Provider of the model that answers", "local"], id="reference"),
        pytest.param(7, 4, ["#### Limits", "What one task may use", "steps: 8"], id="mapping"),
        pytest.param(8, 6, ["#### Steps", "Model calls, the last of which is the wrap", "Example"], id="nested"),
        pytest.param(15, 4, ["#### Type", "* `openai`: A model behind the chat"], id="type"),
        pytest.param(16, 4, ["#### Model", "Name of the model, as the service spells it"], id="second-document"),
    ],
)
def test_fields_are_explained(editor: Editor, line: int, column: int, parts: list[str]) -> None:
    """The mouse over a field shows its title, its text and an example."""
    editor.open({"hover.yaml": _with_modeline(AGENT + PROVIDER)})
    text = editor.hover("hover.yaml", line, column)
    assert [part for part in parts if part not in text] == []
