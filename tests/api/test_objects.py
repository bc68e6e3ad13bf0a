"""Objects over the API: shown, selected, replaced and deleted, each under the version that the caller has seen."""

from collections.abc import Sequence
from typing import Any

import pytest

from loomd.api.client import Client
from loomd.daemon import System
from loomd.errors import Conflict, NotFound, Permanent
from loomd.manifest.problem import Problems
from loomd.store.records import Capability
from tests.api.talk import AGENT, TEAM, apply, ask, say

ADA = ("namespaces", "default", "agents", "ada")
MORE = """---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: bob, labels: {team: blue, tier: web, old: "1"}}
spec: {provider: script, description: answers less}
"""


def manifest(**spec: Any) -> dict[str, Any]:
    """Return the manifest of the agent with another spec."""
    spec = {"provider": "script", "description": "answers all", **spec}
    return {"apiVersion": "loomd.dev/v1", "kind": "Agent", "metadata": {"name": "ada"}, "spec": spec}


async def test_an_object_shows_what_it_is(client: Client, system: System) -> None:
    """Identity, managers, status and an entity tag that is the version; nothing that the daemon adds is in the spec."""
    await apply(client, TEAM)
    answer = await say(system, "GET", AGENT)
    body = answer.json
    assert answer.headers["ETag"] == f'"{body["metadata"]["resourceVersion"]}"'
    assert (body["apiVersion"], body["kind"]) == ("loomd.dev/v1", "Agent")
    assert set(body["metadata"]) == {
        *("name", "namespace", "labels", "uid", "generation", "resourceVersion", "creationTimestamp", "managedFields"),
    }
    assert [one["manager"] for one in body["metadata"]["managedFields"]] == ["declared:/m", "runtime"]
    assert body["spec"] == {"provider": "script", "description": "answers everything"}
    assert body["status"]["observedGeneration"] == 1
    for one in body["status"]["conditions"]:
        assert set(one) == {"type", "status", "observedGeneration", "lastTransitionTime", "reason", "message"}
    assert (await say(system, "GET", f"{AGENT}/status")).json == body
    assert (await say(system, "HEAD", AGENT)).text == ""


async def test_what_is_shown_is_of_one_moment(client: Client, system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes while an object is looked up is shown with its spec and its version: sent back it undoes nothing."""
    await apply(client, TEAM)
    known = system.store.capabilities

    async def changing() -> Sequence[Capability]:
        monkeypatch.setattr(system.store, "capabilities", known)
        await apply(client, TEAM.replace("everything", "all"))
        return await known()

    monkeypatch.setattr(system.store, "capabilities", changing)
    shown = await ask(client.get, *ADA)
    assert (shown["metadata"]["resourceVersion"], shown["spec"]["description"]) == ("2", "answers all")


async def test_generation_version_and_uid(client: Client) -> None:
    """The generation counts changes of the spec, the version those of anything, the uid is new after delete."""
    await apply(client, TEAM)
    first = (await ask(client.get, *ADA))["metadata"]
    await apply(client, TEAM.replace("team: red", "team: green"))
    labelled = (await ask(client.get, *ADA))["metadata"]
    await apply(client, TEAM.replace("everything", "all"))
    changed = (await ask(client.get, *ADA))["metadata"]
    assert [one["generation"] for one in (first, labelled, changed)] == [1, 1, 2]
    assert len({one["resourceVersion"] for one in (first, labelled, changed)}) == 3
    assert len({one["uid"] for one in (first, labelled, changed)}) == 1
    targets = [{"kind": "Cluster", "name": "team"}, {"kind": "Agent", "name": "ada"}]
    await ask(client.post, "delete", body={"objects": targets})
    await apply(client, TEAM)
    assert (await ask(client.get, *ADA))["metadata"]["uid"] != first["uid"]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("", ["ada", "bob"]),
        ("team=red", ["ada"]),
        ("team==blue", ["bob"]),
        ("team!=red", ["bob"]),
        ("team in (red, blue)", ["ada", "bob"]),
        ("team notin (red)", ["bob"]),
        ("old", ["bob"]),
        ("!old,tier=web", ["ada"]),
        ("tier=web,team in (blue)", ["bob"]),
        ("nothing", []),
    ],
)
async def test_label_selectors(client: Client, selector: str, names: list[str]) -> None:
    """A list is of those whose labels meet all requirements."""
    await apply(client, TEAM + MORE)
    found = await ask(client.get, "agents", labelSelector=selector)
    assert [item["metadata"]["name"] for item in found["items"]] == names
    assert found["metadata"]["resourceVersion"] == "1"


@pytest.mark.parametrize("selector", ["=x", "a in b", "a=b c", "a,,b", "-a", "a in (b", "x" * 2000])
async def test_bad_selectors_are_status_400(system: System, selector: str) -> None:
    """A selector that is none says where."""
    answer = await say(system, "GET", f"agents?labelSelector={selector.replace(' ', '%20')}")
    assert answer.status == 400
    assert answer.error["message"].startswith("label selector: expected")


async def test_an_object_is_replaced(client: Client, system: System) -> None:
    """PUT of what was read, changed, makes a new revision; a dry run goes as far as to open it and changes nothing."""
    await apply(client, TEAM)
    read = await ask(client.get, *ADA)
    read["spec"]["description"] = "answers all"
    dry = await ask(client.put, *ADA, body=read, dryRun="1")
    assert dry["dryRun"] is True
    assert system.reconciler.number == 1
    done = await ask(client.put, *ADA, body=read, manager="editor")
    assert done["after"]["number"] == 2
    now = await ask(client.get, *ADA)
    assert now["spec"]["description"] == "answers all"
    assert now["metadata"]["managedFields"][0]["actor"] == "editor"
    with pytest.raises(Conflict, match="changed since: expected version 1, it has 2: read it again"):
        await ask(client.put, *ADA, body=read)


async def test_text_keeps_comments(client: Client, system: System) -> None:
    """A manifest may be sent as text, so that its comments stay and problems have its lines."""
    await apply(client, TEAM)
    text = (
        "# mine\napiVersion: loomd.dev/v1\nkind: Agent\nmetadata: {name: ada}\nspec: {provider: script, descripton: x}"
    )
    with pytest.raises(Problems) as caught:
        await ask(client.put, *ADA, body={"text": text})
    assert [one.position.line for one in caught.value.problems] == [5]
    await ask(client.put, *ADA, body={"text": text.replace("descripton", "description")})
    assert any(file.data.startswith(b"# mine") for file in system.reconciler.files("/m"))


@pytest.mark.parametrize("version", ['"1"', 'W/"1"', "1", "*", ""], ids=["strong", "weak", "bare", "any", "none"])
async def test_if_match_lets_the_seen_version_through(client: Client, system: System, version: str) -> None:
    """The version that serves, any, or none: the write is carried out."""
    await apply(client, TEAM)
    answer = await say(system, "PUT", AGENT, manifest(), {"If-Match": version} if version else {})
    assert answer.status == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_moved_version_is_status_409(client: Client, system: System, method: str) -> None:
    """A write with another version than the one that serves changes nothing, whatever it is."""
    await apply(client, TEAM.rpartition("---")[0] if method == "DELETE" else TEAM)
    for version in ('"0"', '"7"', '"nonsense"'):
        answer = await say(system, method, AGENT, manifest() if method == "PUT" else None, {"If-Match": version})
        assert answer.status == 409
        assert "read it again" in answer.error["message"]
    several = await say(system, method, AGENT, manifest() if method == "PUT" else None, {"If-Match": '"1", "2"'})
    assert several.status == 400
    assert system.reconciler.number == 1


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({}, 422, "something without metadata"),
        ({"kind": "Agent"}, 422, "something without metadata"),
        ({**manifest(), "metadata": {"name": "bob"}}, 422, "expected Agent/ada and nothing else, got Agent/bob"),
        ({**manifest(), "metadata": 7}, 422, "something without metadata"),
        (manifest(description="(hidden)"), 422, "is not shown"),
        (manifest(provider="skript"), 422, "skript"),
        ({"text": "a: [", "more": 1}, 422, "something without metadata"),
        ({"text": 7}, 400, "str"),
        ({"text": "a: ["}, 422, "expected"),
        ({"text": ""}, 422, "got nothing"),
        ([], 400, "object"),
        ("null", 400, "object"),
        ("{", 400, "truncated"),
        ('{"x": 1, garbage', 400, "malformed"),
        ("", 400, "truncated"),
    ],
)
async def test_what_is_no_replacement_is_refused(
    client: Client, system: System, body: object, status: int, says: str
) -> None:
    """Kind, name and namespace cannot be changed, and a body that is none is told so."""
    await apply(client, TEAM)
    answer = await say(system, "PUT", AGENT, body)
    assert answer.status == status, answer.text
    assert says in answer.text
    assert system.reconciler.number == 1


async def test_deletion_is_all_or_nothing(client: Client, system: System) -> None:
    """Several objects go together, or none: one that is missing, changed or referred to keeps all."""
    await apply(client, TEAM + MORE)
    ada, bob, team = (
        {"kind": kind, "name": name} for kind, name in [("Agent", "ada"), ("Agent", "bob"), ("Cluster", "team")]
    )
    with pytest.raises(Problems, match="Cluster/team"):
        await ask(client.post, "delete", body={"objects": [ada, bob]})
    with pytest.raises(NotFound, match="nobody"):
        await ask(client.post, "delete", body={"objects": [bob, {"kind": "Agent", "name": "nobody"}]})
    with pytest.raises(Conflict):
        await ask(client.post, "delete", body={"objects": [team, {**bob, "resourceVersion": "9"}]})
    with pytest.raises(NotFound, match="no kind 'Agnet'"):
        await ask(client.post, "delete", body={"objects": [bob, {"kind": "Agnet", "name": "ada"}]})
    assert system.reconciler.number == 1
    dry = await ask(client.post, "delete", body={"objects": [team, ada], "dryRun": True})
    assert system.reconciler.number == 1
    done = await ask(
        client.post, "delete", body={"objects": [team, ada, {"kind": "Agent", "name": "nobody"}], "ignoreMissing": True}
    )
    for plan in (dry, done):
        assert {one["object"] for one in plan["changes"] if one["action"] == "deleted"} == {"Cluster/team", "Agent/ada"}
    assert [item["metadata"]["name"] for item in (await ask(client.get, "agents"))["items"]] == ["bob"]


async def test_one_object_is_deleted(client: Client, system: System) -> None:
    """DELETE of what nothing refers to; afterwards it is not found."""
    await apply(client, TEAM + MORE)
    bob = "/apis/loomd.dev/v1/namespaces/default/agents/bob"
    assert (await say(system, "DELETE", f"{bob}?dryRun=1")).json["dryRun"] is True
    assert (await say(system, "DELETE", bob, headers={"If-Match": '"1"'})).status == 200
    assert (await say(system, "GET", bob)).status == 404
    assert (await say(system, "DELETE", bob)).status == 404
    referred = await say(system, "DELETE", AGENT)
    assert referred.status == 422
    assert "Cluster/team" in referred.text


async def test_what_is_followed_is_not_changed_by_hand(client: Client, system: System) -> None:
    """An object of a followed source is edited and deleted there, unless the source is suspended."""
    await apply(client, TEAM)
    system.reconciler.announce("/m", "directory")
    with pytest.raises(Conflict, match="suspend /m first"):
        await ask(client.put, *ADA, body=manifest())
    with pytest.raises(Conflict, match="suspend /m first"):
        await ask(client.delete, *ADA)
    await system.reconciler.suspend("/m")
    await ask(client.put, *ADA, body=manifest())


async def test_nothing_is_changed_while_draining(client: Client, system: System) -> None:
    """Every write is refused with 503 and a time to come again while the daemon starts or stops; reads go on."""
    await apply(client, TEAM)
    system.ready = False
    writes = [
        ("POST", "apply"),
        ("POST", "plan"),
        ("POST", "delete"),
        ("PUT", AGENT),
        ("DELETE", AGENT),
        ("POST", "rollout/undo"),
        ("POST", "sources/%2Fm/suspend"),
        ("POST", "sources/%2Fm/resume"),
        ("POST", "sources/%2Fm/reconcile"),
        ("POST", "namespaces/default/tasks"),
    ]
    for method, path in writes:
        answer = await say(system, method, path, {})
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1"), path
    assert (await say(system, "GET", AGENT)).status == 200
    with pytest.raises(Permanent):
        await ask(client.get, *ADA, full="maybe")


async def test_what_is_not_there_is_told_alike(client: Client) -> None:
    """Reading and deleting what is not there say the same, and where to look."""
    said: list[str] = []
    for act in (client.get, client.delete):
        with pytest.raises(NotFound) as refused:
            await ask(act, "namespaces", "docs", "agents", "eve")
        said.append(str(refused.value))
    assert said == ["no Agent 'eve' in namespace docs: `loomd get all` shows what there is"] * 2
