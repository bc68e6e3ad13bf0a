"""Fields of objects are changed in the text of a file, and no other byte is."""

import pytest

from loomd.errors import Permanent
from loomd.manifest.amend import Append, Change, Put, Rewrite, amend, is_generated
from loomd.manifest.document import read_documents
from loomd.manifest.object import Ref

HEAD = "# mine\napiVersion: loomd.dev/v1\nkind: Agent\nmetadata: {name: ada}  # she\n"
ADA = Ref("Agent", "ada")
LAW = Put(("spec", "domains", "law"), 0.76)
MORE = Rewrite(("spec", "prompt"), lambda text: f"{text}\n\nBe brief.\n  Or not: {{}}", "You are ada.")
BOB = Append(("spec", "tools"), "bob")
ESCAPED = r"You are ada.\n\nBe brief.\n  Or not: {}"


def amended(spec: str, *changes: Change) -> str:
    """Return what becomes of a spec; the rest of the file stays."""
    result = amend((HEAD + spec).encode(), "a.yaml", {ADA: changes}).decode()
    assert result.startswith(HEAD)
    assert amend(result.encode(), "a.yaml", {ADA: [one for one in changes if one is not MORE]}).decode() == result
    return result.removeprefix(HEAD)


PUTS = {
    "flow": ("spec: {provider: p, domains: {law: 0.5}} # c\n", "spec: {provider: p, domains: {law: 0.76}} # c\n"),
    "flow, new field": ("spec: {domains: {tax: 0.5,}}\n", "spec: {domains: {tax: 0.5, law: 0.76,}}\n"),
    "flow, new mapping": ("spec: {provider: p}", "spec: {provider: p, domains: {law: 0.76}}"),
    "flow, empty": ("spec: {domains: {}}\n", "spec: {domains: {law: 0.76}}\n"),
    "block": ("spec:\n  domains:\n    law: 0.50  # so-so\n", "spec:\n  domains:\n    law: 0.76  # so-so\n"),
    "block, new field": (
        "spec:\n  domains:\n    tax: 0.5  # ok\n    # end\n  provider: p\n",
        "spec:\n  domains:\n    tax: 0.5  # ok\n    law: 0.76\n    # end\n  provider: p\n",
    ),
    "block, new mapping": (
        "spec:\n    provider: p\n    prompt: |\n        Hi.\n\n# end\n",
        "spec:\n    provider: p\n    prompt: |\n        Hi.\n    domains: {law: 0.76}\n\n# end\n",
    ),
    "no line break at the end": ("spec:\n  provider: p", "spec:\n  provider: p\n  domains: {law: 0.76}"),
    "line breaks of Windows": (
        "spec:\r\n  provider: p\r\n  tools:\r\n  - a\r\n",
        "spec:\r\n  provider: p\r\n  tools:\r\n  - a\r\n  domains: {law: 0.76}\r\n",
    ),
    "quoted": ('spec: {"provider": "p"}\n', 'spec: {"provider": "p", "domains": {"law": 0.76}}\n'),
    "an anchor that nobody uses": ("spec: &s\n  provider: p\n", "spec: &s\n  provider: p\n  domains: {law: 0.76}\n"),
}


@pytest.mark.parametrize(("before", "after"), PUTS.values(), ids=PUTS)
def test_a_number_is_put(before: str, after: str) -> None:
    """In its place, or where there is none in a place that fits its neighbours."""
    assert amended(before, LAW) == after


TEXTS = {
    "plain": (
        "spec:\n  prompt: You are ada.\n  provider: p\n",
        "spec:\n  prompt: |-\n    You are ada.\n\n    Be brief.\n      Or not: {}\n  provider: p\n",
    ),
    "plain, with a comment": (
        "spec:\n  prompt: You are ada. # she\n",
        f'spec:\n  prompt: "{ESCAPED}" # she\n',
    ),
    "quoted": ('spec:\n  prompt: "You are ada."\n', f'spec:\n  prompt: "{ESCAPED}"\n'),
    "flow": ("spec: {prompt: You are ada.}\n", f'spec: {{prompt: "{ESCAPED}"}}\n'),
    "flow over lines": (
        "spec: {\n  prompt: 'You are ada.'\n}\n",
        f'spec: {{\n  prompt: "{ESCAPED}"\n}}\n',
    ),
    "block": (
        "spec:\n  prompt: |- # she\n      You are ada.\n\n  # end\n",
        "spec:\n  prompt: |- # she\n      You are ada.\n\n      Be brief.\n        Or not: {}\n\n  # end\n",
    ),
    "block that ends its line": (
        "spec:\n  prompt: |\n    You are ada.\n  provider: p\n",
        "spec:\n  prompt: |-\n    You are ada.\n\n\n    Be brief.\n      Or not: {}\n  provider: p\n",
    ),
    "none": (
        "spec:\n  provider: p\n",
        "spec:\n  provider: p\n  prompt: |-\n    You are ada.\n\n    Be brief.\n      Or not: {}\n",
    ),
}


@pytest.mark.parametrize(("before", "after"), TEXTS.values(), ids=TEXTS)
def test_a_text_is_rewritten(before: str, after: str) -> None:
    """In its style if that can hold several lines, else as a block, in brackets in quotes."""
    assert amended(before, MORE) == after


def test_a_folded_text_goes_on() -> None:
    """Its lines stay as they are folded."""
    more = Rewrite(("spec", "prompt"), lambda text: f"{text}\n\nBe brief.\nAlways.")
    spec = "spec:\n  prompt: >-\n    You are\n    ada.\n  provider: p\n"
    after = "spec:\n  prompt: >-\n    You are\n    ada.\n\n\n    Be brief.\n\n    Always.\n  provider: p\n"
    result = amend((HEAD + spec).encode(), "a.yaml", {ADA: [more]}).decode()
    assert result == HEAD + after
    (document,) = read_documents(result.encode(), "a.yaml")[0]
    assert document.value["spec"]["prompt"] == "You are ada.\n\nBe brief.\nAlways."


LISTS = {
    "flow": ("spec: {tools: [a, b]}\n", "spec: {tools: [a, b, bob]}\n"),
    "empty": ("spec:\n  tools: []\n", "spec:\n  tools: [bob]\n"),
    "none": ("spec:\n  provider: p\n", "spec:\n  provider: p\n  tools: [bob]\n"),
    "block": (
        "spec:\n  tools:\n    - a\n    - b # bee\n  provider: p\n",
        "spec:\n  tools:\n    - a\n    - b # bee\n    - bob\n  provider: p\n",
    ),
    "block without indentation": ("spec:\n  tools:\n  - a\n", "spec:\n  tools:\n  - a\n  - bob\n"),
    "it has it": ("spec:\n  tools: [ 'bob' ]\n", "spec:\n  tools: [ 'bob' ]\n"),
}


@pytest.mark.parametrize(("before", "after"), LISTS.values(), ids=LISTS)
def test_an_item_is_added(before: str, after: str) -> None:
    """At the end of a list, as its neighbours are."""
    assert amended(before, BOB) == after


def test_several_changes_of_several_documents() -> None:
    """Each in its own; documents are added at the end, and a mark at the start stays."""
    eve = HEAD.replace("{name: ada}", "{name: eve}") + "spec: {provider: p}"
    text = f"\ufeff{HEAD}spec:\n  provider: p\n---\n{eve}"
    new = HEAD.replace("{name: ada}", "{name: new}") + "spec: {provider: p}\n"
    result = amend(text.encode(), "a.yaml", {ADA: [LAW, BOB], Ref("Agent", "eve"): [LAW]}, [new]).decode()
    first = f"\ufeff{HEAD}spec:\n  provider: p\n  domains: {{law: 0.76}}\n  tools: [bob]\n"
    second = HEAD.replace("{name: ada}", "{name: eve}") + "spec: {provider: p, domains: {law: 0.76}}\n"
    assert result == f"{first}---\n{second}---\n{new}"


REFUSED = {
    "behind an alias": "x: &d {law: 0.5}\nspec: {domains: *d}\n",
    "shared by an alias": "spec: {domains: &d {law: 0.5}, toolContext: *d}\n",
    "shared number": "spec: {temperature: &t 0.5, domains: {law: *t}}\n",
    "tagged": "spec: {domains: !!map {law: !!float 0.5}}\n",
}


@pytest.mark.parametrize("spec", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_edited_is_refused(spec: str) -> None:
    """Never is another manifest made of it."""
    with pytest.raises(Permanent, match=r"spec\.domains\.law"):
        amend((HEAD + spec).encode(), "a.yaml", {ADA: [LAW]})


def test_who_is_not_there_is_refused() -> None:
    """Or has an old version, with what to do."""
    with pytest.raises(Permanent, match="Agent/eve is not declared"):
        amend((HEAD + "spec: {}\n").encode(), "a.yaml", {Ref("Agent", "eve"): [LAW]})
    old = HEAD.replace("v1", "v1alpha1") + "spec: {systemPrompt: x}\n"
    with pytest.raises(Permanent, match="loomd convert"):
        amend(old.encode(), "a.yaml", {ADA: [LAW]})
    with pytest.raises(Permanent, match="no document"):
        amend(b"{}", "a.json", {}, [HEAD])


def test_generated_files_say_so() -> None:
    """In their first comment; later ones are about something else."""
    assert is_generated(b"# Code generated by gen. DO NOT EDIT.\n" + HEAD.encode())
    assert is_generated(b"---\n\n# x\n# @generated\na: 1\n")
    assert not is_generated(HEAD.encode() + b"# do not edit\n")
