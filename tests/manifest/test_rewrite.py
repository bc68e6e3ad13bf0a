"""Rewriting manifests of an old version as text: comments, order and style stay, and the outcome is exact."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loomd.manifest.document import read_documents
from loomd.manifest.envelope import in_todays_form
from loomd.manifest.kind import find_kinds
from loomd.manifest.problem import Problems
from loomd.manifest.rewrite import rewrite

KINDS = find_kinds()
HEAD = "apiVersion: loomd.dev/v1alpha1\nkind: Agent\nmetadata: {name: a}\n"
NOW = HEAD.replace("alpha1", "")


def rewritten(text: str) -> str:
    """Return a text with every document in the form of today."""
    return rewrite(text.encode(), "m.yaml", KINDS).text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("spec: {provider: p}\n", "spec: {provider: p}\n", id="version-only"),
        pytest.param("spec:\n  systemPrompt: Hi # there\n", "spec:\n  prompt: Hi # there\n", id="renamed"),
        pytest.param("spec:\n  maxSteps: 3\n", "spec:\n  limits:\n    steps: 3\n", id="nested"),
        pytest.param(
            "spec:\n  # a\n  # b\n  maxSteps: 3 # x\n  tools: []\n\n  # s\n  timeoutSeconds: 90 # y\n  memory: m\n",
            "spec:\n  limits:\n    # a\n    # b\n    steps: 3 # x\n    # s\n    time: 90s # y\n  tools: []\n\n"
            "  memory: m\n",
            id="comments-go-along",
        ),
        pytest.param(
            "spec:\n  maxSteps: 3\n  systemPrompt: |\n    # not a comment\n    maxSteps: 4\n  budgetTokens: 5\n",
            "spec:\n  limits:\n    steps: 3\n    tokens: 5\n  prompt: |\n    # not a comment\n    maxSteps: 4\n",
            id="block-text",
        ),
        pytest.param("spec:\n  maxSteps:\n    3\n", "spec:\n  limits:\n    steps:\n      3\n", id="value-below"),
        pytest.param("spec:\n  maxSteps: 3", "spec:\n  limits:\n    steps: 3\n", id="no-last-newline"),
        pytest.param("spec:\n    maxSteps: 3\n", "spec:\n    limits:\n      steps: 3\n", id="wide-indentation"),
        pytest.param('spec:\n  "maxSteps": 3\n', 'spec:\n  "limits":\n    "steps": 3\n', id="quoted-key"),
        pytest.param("spec:\n  timeoutSeconds: &t 5\n", "spec:\n  limits:\n    time: 5s\n", id="anchor-of-nothing"),
        pytest.param(
            "spec: {provider: p, maxSteps: 3, budgetCost: 1, temperature: 0}\n",
            "spec: {provider: p, limits: {steps: 3, cost: 1}, temperature: 0}\n",
            id="flow",
        ),
        pytest.param("spec: {maxSteps: 3, budgetCost: 1}\n", "spec: {limits: {steps: 3, cost: 1}}\n", id="flow-all"),
        pytest.param(
            "spec: {maxSteps: 3, provider: p, budgetCost: 1}\n",
            "spec: {limits: {steps: 3, cost: 1}, provider: p}\n",
            id="flow-last",
        ),
        pytest.param(
            "spec: {\n  maxSteps: 3, # a, b\n  provider: p, # c\n  budgetCost: 1,\n  timeoutSeconds: 60,\n}\n",
            "spec: {\n  limits: {steps: 3, cost: 1, time: 1m}, # a, b\n  provider: p, # c\n}\n",
            id="flow-lines",
        ),
        pytest.param(
            'spec: {"provider": "p", "timeoutSeconds": 1.5, "systemPrompt": "x"}\n',
            'spec: {"provider": "p", "limits": {"time": "1500ms"}, "prompt": "x"}\n',
            id="json-style",
        ),
    ],
)  # fmt: skip
def test_text_is_kept(old: str, new: str) -> None:
    """Only what moved is written anew, in the style that is there."""
    assert rewritten(HEAD + old) == NOW + new


def test_other_documents_are_kept() -> None:
    """What is not old stays byte for byte, between and around what is."""
    other = "# first\n%s---\n# empty\n---\nkind: Agent # no version\nspec: {maxSteps: 3}\n---\n"
    text = other % "" + HEAD + "spec: {maxSteps: 3}\n...\n# the end\n"
    assert rewritten(text) == text.replace(HEAD, NOW).replace(
        "\nspec: {maxSteps: 3}\n...", "\nspec: {limits: {steps: 3}}\n..."
    )


def test_json_stays_json() -> None:
    """A JSON file stays one."""
    text = '{"apiVersion": "loomd.dev/v1alpha1", "kind": "Agent",\n "metadata": {"name": "a"}, "spec": {"maxSteps": 3}}'
    assert rewritten(text) == text.replace("alpha1", "").replace('"maxSteps": 3', '"limits": {"steps": 3}')


def test_line_ends_and_the_mark_of_the_encoding() -> None:
    """Windows line ends are kept in what is new; the mark of UTF-8 is not."""
    text = "\ufeff" + (HEAD + "spec:\n  maxSteps: 3\n  provider: p\n").replace("\n", "\r\n")
    assert rewritten(text) == (NOW + "spec:\n  limits:\n    steps: 3\n  provider: p\n").replace("\n", "\r\n")


def test_changes_are_named() -> None:
    """Each object that was rewritten is told with the version that it had; a second time there is nothing to do."""
    first = rewrite((HEAD + "spec: {maxSteps: 3}\n").encode(), "m.yaml", KINDS)
    assert first.changes == (("Agent/a", "loomd.dev/v1alpha1"),)
    again = rewrite(first.text.encode(), "m.yaml", KINDS)
    assert (again.text, again.changes) == (first.text, ())


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x: &s {maxSteps: 3}\n" + HEAD + "spec: *s\n", id="alias"),
        pytest.param(HEAD + "spec:\n  timeoutSeconds: &t 5\n  temperature: *t\n", id="anchor-that-is-used"),
        pytest.param(HEAD + "spec:\n  ? maxSteps\n  : 3\n", id="question-mark"),
        pytest.param('{x: "\\ud83d\\ude00", ' + HEAD.replace("\n", ", ") + "spec: {maxSteps: 3}}", id="halves"),
    ],
)  # fmt: skip
def test_what_cannot_be_rewritten_is_said(text: str) -> None:
    """A document that cannot be rewritten in place is a problem that names it, never another document."""
    with pytest.raises(Problems) as caught:
        rewritten(text)
    (problem,) = caught.value.problems
    assert problem.code == "deprecated-version"
    assert "Agent/a apiVersion: loomd.dev/v1alpha1 cannot be rewritten in place" in problem.message
    assert problem.hint.startswith("write out first what stands behind aliases")


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        pytest.param("a: [", ["yaml-syntax"], id="syntax"),
        pytest.param(HEAD + "spec: {timeoutSeconds: soon, limits: {}}\n", ["wrong-type", "unknown-field"], id="both"),
    ],
)
def test_what_is_wrong_is_told_first(text: str, codes: list[str]) -> None:
    """A file that cannot be read, and fields that the old version does not take, are told as everywhere."""
    with pytest.raises(Problems) as caught:
        rewritten(text)
    assert [one.code for one in caught.value.problems] == codes


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "maxSteps": st.integers(1, 9).map(str),
        "budgetTokens": st.sampled_from(["5", "0x10", "!!int 7", "'5'", "~"]),
        "budgetCost": st.sampled_from(["0.5", "1e2", '"x"']),
        "timeoutSeconds": st.sampled_from(["1", "90", "0.5", "0"]),
        "systemPrompt": st.sampled_from(["Hi", "'a: b # c'", '"\\u00e9, {x}"', "[a, b]", "{c: d}"]),
        "provider": st.just("p"),
        "description": st.sampled_from(["x", "'it''s'", '"maxSteps: 4"']),
        "temperature": st.just("0"),
    },
)


@st.composite
def specs(draw: st.DrawFn) -> str:
    """Draw the spec of an old agent in some order, style and amount of comment."""
    fields = draw(FIELDS)
    names = draw(st.permutations(sorted(fields)))
    if not names:
        return "spec: {}\n"
    if draw(st.booleans()):
        gap = draw(st.sampled_from([" ", "\n  ", " # a, b: {c}\n  "]))
        last = draw(st.sampled_from(["", ",", "\n"]))
        quote = draw(st.sampled_from(["", '"', "'"]))
        return "spec: {" + f",{gap}".join(f"{quote}{name}{quote}: {fields[name]}" for name in names) + last + "}\n"
    lines = "spec:\n"
    for name in names:
        above = draw(st.sampled_from(["", "\n", "  # over: it\n", "# far\n", "  # two\n  # of them\n"]))
        behind = draw(st.sampled_from(["", "  # behind, it", " "]))
        lines += f"{above}  {name}: {fields[name]}{behind}\n"
    return lines


@settings(max_examples=150, deadline=None)
@given(st.lists(specs(), min_size=1, max_size=3))
def test_every_manifest_comes_out_as_converted(drawn: list[str]) -> None:
    """Whatever the order and style, the text reads as the conversion says, and no comment is lost."""
    text = "---\n".join(HEAD + one for one in drawn)
    documents, problems = read_documents(text.encode(), "m.yaml")
    version = KINDS["Agent"].versions[0]
    wanted = [in_todays_form(one, version) for one in documents]
    if problems or any(refusals for _, refusals in wanted):
        return
    result = rewritten(text)
    assert [one.value for one in read_documents(result.encode(), "m.yaml")[0]] == [
        past.document.value for past, _ in wanted
    ]
    for comment in ("# a, b: {c}", "# over: it", "# far", "# two", "# of them", "# behind, it"):
        assert result.count(comment) == text.count(comment)
