"""Secrets that were written into manifests by mistake: no form of any problem shows them, and no line beside it."""

from pathlib import Path
from typing import Any

import pytest

from loomd.cli.main import run

WORD = "hunter2canary"
"""A secret that looks like a word: only its place tells what it is."""
TOKEN = "sk-canary-0123456789abcdef"
"""A secret in a place for something else: only its form tells what it is."""
HEAD = "apiVersion: loomd.dev/v1\nkind: {kind}\nmetadata: {{name: p}}\nspec:\n"
PROVIDER = "  type: openai\n  model: m\n"
PLACES = {
    "text": PROVIDER + "  apiKey: CANARY",
    "quoted": PROVIDER + "  apiKey: 'CANARY'",
    "flow": "  {type: openai, model: m, apiKey: CANARY}",
    "block": PROVIDER + "  apiKey: |\n    CANARY",
    "folded": PROVIDER + "  apiKey: >-\n\n    CANARY\n    more",
    "next-line": PROVIDER + "  apiKey:\n    CANARY",
    "list": PROVIDER + "  apiKey: [CANARY]",
    "list-below": PROVIDER + "  apiKey:\n    - CANARY\n  -x: [",
    "items": PROVIDER + "  headers:\n    Authorization: [Bearer, CANARY]",
    "inside": PROVIDER + "  apiKey: {value: CANARY}",
    "inside-below": PROVIDER + "  apiKey:\n    value: CANARY",
    "only-a-key": PROVIDER + "  apiKey: {CANARY}",
    "key-of-source": PROVIDER + "  apiKey: {valueFrom: {CANARY}}",
    "name-of-variable": PROVIDER + "  apiKey: {valueFrom: {env: [CANARY]}}",
    "flow-over-lines": PROVIDER + "  apiKey: {valueFrom: {env:\n  [CANARY]}}",
    "alias": PROVIDER + "  apiKey: *CANARY",
    "tag": PROVIDER + "  apiKey: !CANARY",
    "tag-and-value": PROVIDER + "  apiKey: !x CANARY",
    "anchor": PROVIDER + "  apiKey: &CANARY\n  bogus: 1",
    "twice": PROVIDER + "  apiKey: CANARY\n  apiKey: CANARY",
    "number": PROVIDER + "  apiKey: 0xCANARY\n  bogus: 1",
    "unclosed": PROVIDER + "  apiKey: 'CANARY\n  headers: {a: b}",
    "unclosed-behind": PROVIDER + "  apiKey: CANARY\n  model: 'x",
    "unclosed-flow": PROVIDER + "  apiKey: {valueFrom: CANARY\n  deadline: 5",
    "colon-inside": PROVIDER + "  apiKey: a: CANARY",
    "colon-below": PROVIDER + "  apiKey: CANARY\n    b: c",
    "tab": PROVIDER + "  apiKey:\n\tCANARY",
    "at-sign": PROVIDER + "  apiKey: @CANARY",
    "escape": PROVIDER + '  apiKey: "CANARY\\q"',
    "header": PROVIDER + "  headers: {X-Api-Key: CANARY, Cookie: CANARY}",
    "header-number": PROVIDER + "  headers: {X-Auth-Token: {a: CANARY}}",
    "address": PROVIDER + "  baseUrl: https://ada:CANARY@models.example/v1?token=CANARY",
    "address-of-nothing": PROVIDER + "  baseUrl: ftp://ada:CANARY@models.example",
    "unknown-field": PROVIDER + "  password: CANARY",
    "unknown-mapping": PROVIDER + "  credentials: {user: ada, pass: CANARY}",
    "misspelled": PROVIDER + "  api_key: CANARY",
    "duplicate-beside": PROVIDER + "  apiKey: CANARY\n  model: n",
    "same-line": "  {type: openai, modle: m, apiKey: CANARY}",
    "same-line-before": "  {type: openai, apiKey: CANARY, modle: m}",
    "comment": "  type: openai\n  model: 4 # the old key: CANARY",
}
ELSEWHERE = {
    "query": ("Tool", "  type: http\n  url: https://h/x\n  query: {token: CANARY}"),
    "git-address": ("GitSource", "  url: https://ada:CANARY@git.example/a.git"),
    "git-password": ("GitSource", "  url: https://git.example/a.git\n  auth: {password: CANARY}"),
    "git-key": (
        "GitSource",
        "  url: ssh://git@git.example/a.git\n  auth:\n    sshKey: |\n      CANARY\n    knownHosts: 5",
    ),
    "redacted": ("Interceptor", "  type: redact\n  secrets: [CANARY]"),
    "unknown-kind": ("Povider", "  apiKey: CANARY"),
    "old-version": ("Agent", "  provider: p\n  apiKey: CANARY\n  maxSteps: 0"),
}
FORMS = {
    "value": "  type: openai\n  model: [CANARY]\n  temperature: CANARY",
    "choice": "  type: CANARY\n  model: m",
    "field": PROVIDER + "  CANARY: 1",
    "key": PROVIDER + "  headers: {CANARY}",
    "bearer": PROVIDER + "  temperature: Bearer CANARY",
    "in-text": PROVIDER + '  maxReply: "use CANARY for it"',
    "beside": "  {type: openai, model: CANARY, modle: x}",
    "reference": PROVIDER + "---\napiVersion: loomd.dev/v1\nkind: Agent\nmetadata: {name: a}\nspec: {provider: CANARY}",
    "template": PROVIDER
    + "---\napiVersion: loomd.dev/v1\nkind: Agent\nmetadata: {name: a}\nspec: {provider: p, prompt: '{{ x }} CANARY'}",
    "name": "  type: openai\n---\napiVersion: loomd.dev/v1\nkind: CANARY\nmetadata: {name: CANARY}",
    "syntax": PROVIDER + "  headers: {a: CANARY\n",
    "duplicate": PROVIDER + "  CANARY: 1\n  CANARY: 2",
    "alias": PROVIDER + "  headers: {a: *CANARY}",
}


def cases() -> list[Any]:
    """Return manifests with a secret and the secret."""
    named = {**{name: ("Provider", text) for name, text in PLACES.items()}, **ELSEWHERE}
    found = [pytest.param(kind, text, WORD, id=name) for name, (kind, text) in named.items()]
    return found + [pytest.param("Provider", text, TOKEN, id=f"form-{name}") for name, text in FORMS.items()]


@pytest.mark.parametrize(
    "verb",
    [["validate", "-o", form] for form in ("text", "json", "sarif", "github")] + [["convert", "-f"]],
    ids=" ".join,
)
@pytest.mark.parametrize(("kind", "text", "secret"), cases())
def test_secrets_are_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, text: str, secret: str, verb: list[str]
) -> None:
    """A secret appears in no message and in no line that is shown, in no form; what is wrong is told all the same."""
    head = HEAD.replace("/v1", "/v1alpha1") if kind == "Agent" else HEAD
    place = tmp_path / "m.yaml"
    place.write_text(head.format(kind=kind) + text.replace("CANARY", secret) + "\n")
    code = run([*verb, str(place)])
    said = capsys.readouterr()
    if verb[0] == "convert" and code == 0:
        return  # what is printed is the manifest itself
    assert code == 1
    assert "canary" not in (said.out + said.err).replace(str(tmp_path), "")
