"""Apply and plan: what they answer, what they refuse and with which status, and that one change waits for another."""

import asyncio
from typing import Any

import pytest

from loomd.api.client import Client
from loomd.daemon import System
from loomd.errors import Conflict, Permanent, Stale
from loomd.manifest.problem import Problems
from tests.api.talk import TEAM, apply, ask, say

OTHER = TEAM.replace("answers everything", "answers much")
BROKEN = TEAM.replace("provider: script", "provider: skript").replace("[ada]", "[adda]")


def batch(text: str, source: str = "/m", **named: Any) -> dict[str, Any]:
    """Return the body that delivers one file."""
    return {"source": source, "root": "/m", "files": [{"path": "a.yaml", "text": text}], **named}


async def test_apply_and_get(client: Client) -> None:
    """What was applied is listed with its spec as written and its condition; a dry run leaves nothing."""
    dry = await apply(client, TEAM, dryRun=True)
    assert [one["action"] for one in dry["changes"]] == ["created"] * 3
    assert dry["dryRun"] is True
    assert (await ask(client.get, "namespaces", "default", "all"))["items"] == []
    done = await apply(client, TEAM)
    assert [one["object"] for one in done["changes"]] == ["Provider/script", "Agent/ada", "Cluster/team"]
    assert (done["after"]["number"], done["dryRun"]) == (1, False)
    found = await ask(client.get, "namespaces", "default", "agents", "ada")
    assert found["spec"] == {"provider": "script", "description": "answers everything"}
    assert found["status"]["conditions"][0]["status"] == "True"
    names = [item["metadata"]["name"] for item in (await ask(client.get, "namespaces", "default", "all"))["items"]]
    assert names == ["ada", "team", "script"]
    assert (await ask(client.get, "namespaces", "other", "agents"))["items"] == []


async def test_the_same_again_changes_nothing(client: Client) -> None:
    """An unchanged file is `unchanged`, makes no revision, and leaves versions and generations alone."""
    await apply(client, TEAM)
    before = await ask(client.get, "namespaces", "default", "agents", "ada")
    again = await apply(client, TEAM)
    assert {one["action"] for one in again["changes"]} == {"unchanged"}
    assert again["after"]["number"] == 1
    assert (await ask(client.get, "namespaces", "default", "agents", "ada"))["metadata"] == before["metadata"]


async def test_a_plan_says_which_fields_and_opens_nothing(client: Client, system: System) -> None:
    """`plan` names the field with both values and when it acts; nothing serves and nothing is kept."""
    await apply(client, TEAM)
    plan = await ask(client.post, "plan", body=batch(OTHER))
    changed = next(one for one in plan["changes"] if one["action"] != "unchanged")
    assert changed["object"] == "Agent/ada"
    assert [(one["path"], one["before"], one["after"]) for one in changed["fields"]] == [
        ("spec.description", "answers everything", "answers much")
    ]
    assert system.reconciler.number == 1
    assert len((await ask(client.get, "rollout", "history"))["items"]) == 1


async def test_problems_come_back_whole(client: Client, system: System) -> None:
    """Invalid manifests are raised at the client with all positions, and the old set serves on."""
    await apply(client, TEAM)
    with pytest.raises(Problems) as caught:
        await apply(client, BROKEN)
    assert len(caught.value.problems) == 2
    assert caught.value.problems[0].position.line > 1
    assert caught.value.problems[0].hint
    assert len(system.reconciler.topology.live) == 3


@pytest.mark.parametrize("route", ["apply", "plan"])
async def test_invalid_manifests_are_status_422(system: System, route: str) -> None:
    """The body names every problem with code, file, line, column and pointer."""
    answer = await say(system, "POST", route, batch(BROKEN))
    assert answer.status == 422
    assert answer.error["type"] == "Problems"
    for one in answer.error["problems"]:
        assert one["code"] == "unresolved-reference"
        assert one["file"].endswith("a.yaml")
        assert one["line"] > 1
        assert one["column"] > 0
        assert one["pointer"].startswith("/spec/")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"source": "/m", "root": "m", "files": []}, "absolute"),
        ({"source": "/m", "root": "/m", "files": [{"path": "../x", "text": ""}]}, "leaves the root"),
        ({"source": "/m", "root": "/m", "files": [{"path": "a/../../x", "text": ""}]}, "leaves the root"),
        ({"source": "/m", "root": "/m", "files": [{"path": "/etc/x", "text": ""}]}, "leaves the root"),
        ({"source": "/m"}, "root"),
        ({"source": "/m", "root": "/m", "files": [], "extra": 1}, "extra"),
        ({"source": "/m", "root": "/m", "files": [], "dryRun": "yes"}, "bool"),
        ({"source": "/m", "root": "/m", "files": [], "others": [{"source": "/m", "root": "/m", "files": []}]}, "twice"),
        ({"source": "/m", "root": "/m", "files": [{"path": "x", "text": ""}] * 2}, "'x' is named twice"),
        ([], "object"),
        (None, "Input data was truncated"),
    ],
    ids=[
        *("relative-root", "outside", "dots-within", "absolute", "missing", "unknown", "type", "twice", "file-twice"),
        *("list", "empty"),
    ],
)
@pytest.mark.parametrize("route", ["apply", "plan"])
async def test_bad_bodies_are_refused(system: System, route: str, body: object, says: str) -> None:
    """A body that is not as documented is status 400 and says what is wrong."""
    answer = await say(system, "POST", route, body)
    assert answer.status == 400
    assert answer.error["type"] == "BadRequest"
    assert says in answer.error["message"]


async def test_a_moved_snapshot_is_status_412(client: Client, system: System) -> None:
    """Whoever expects another revision than the one that serves changes nothing."""
    await apply(client, TEAM)
    await apply(client, OTHER, expected=1)
    with pytest.raises(Stale, match="expected revision 1, revision 2 serves"):
        await apply(client, TEAM, expected=1)
    assert (await say(system, "POST", "plan", batch(TEAM, expected=1))).status == 412
    assert system.reconciler.number == 2


async def test_what_another_source_declares_is_taken_by_force_only(client: Client, system: System) -> None:
    """Two sources do not fight over an object: 409 names the owner, `force` takes it over."""
    await apply(client, TEAM)
    answer = await say(system, "POST", "apply", batch(OTHER, "/other"))
    assert answer.status == 409
    assert "is declared by /m" in answer.error["message"]
    assert "--force" in answer.error["message"]
    forced = await say(system, "POST", "apply", batch(OTHER, "/other", force=True, manager="ops"))
    assert forced.status == 200
    fields = (await ask(client.get, "namespaces", "default", "agents", "ada"))["metadata"]["managedFields"]
    assert [(one["manager"], one["actor"]) for one in fields] == [("declared:/other", "ops"), ("runtime", "loomd")]


async def test_prune_deletes_what_is_no_longer_declared(client: Client) -> None:
    """Without `prune` nothing is deleted, with it what the source had before and does not declare."""
    await apply(client, TEAM)
    smaller = TEAM.partition("---\napiVersion: loomd.dev/v1\nkind: Cluster")[0]
    assert {one["action"] for one in (await apply(client, smaller))["changes"]} == {"unchanged"}
    pruned = await apply(client, smaller, prune=True)
    assert [one["object"] for one in pruned["changes"] if one["action"] == "deleted"] == ["Cluster/team"]


async def test_fifty_concurrent_applies_are_one_after_the_other(client: Client, system: System) -> None:
    """Every answer is a revision of its own, in which its own text serves; the last one serves in the end."""
    await apply(client, TEAM)
    texts = {number: TEAM.replace("everything", f"all {number}") for number in range(50)}
    plans = await asyncio.gather(*(say(system, "POST", "apply", batch(text)) for text in texts.values()))
    assert [plan.status for plan in plans] == [200] * 50
    after = {plan.json["after"]["number"]: number for number, plan in zip(texts, plans, strict=True)}
    assert sorted(after) == list(range(2, 52))
    for plan in plans:
        assert plan.json["before"]["number"] == plan.json["after"]["number"] - 1
    assert system.reconciler.number == 51
    found = await ask(client.get, "namespaces", "default", "agents", "ada")
    assert found["spec"]["description"] == f"answers all {after[51]}"
    assert found["metadata"]["generation"] == 51
    for kept in (await ask(client.get, "rollout", "history"))["items"]:
        stored = await ask(client.get, "rollout", "history", kept["metadata"]["name"])
        number = int(kept["metadata"]["name"])
        if number > 1:
            assert stored["files"][0]["text"] == texts[after[number]]


async def test_of_fifty_that_expect_the_same_revision_one_wins(client: Client, system: System) -> None:
    """With `expected` exactly one of many concurrent changes is carried out, all others are 412."""
    await apply(client, TEAM)
    bodies = [batch(TEAM.replace("everything", f"all {number}"), expected=1) for number in range(50)]
    answers = await asyncio.gather(*(say(system, "POST", "apply", body) for body in bodies))
    assert sorted(answer.status for answer in answers) == [200, *[412] * 49]
    assert system.reconciler.number == 2


async def test_errors_are_raised_again_at_the_client(client: Client) -> None:
    """The class of an error at the server is the class of the error at the client."""
    await apply(client, TEAM)
    with pytest.raises(Conflict):
        await ask(client.post, "apply", body=batch(OTHER, "/other"))
    with pytest.raises(Permanent, match="the body"):
        await ask(client.post, "apply", body={})
