"""The history over the API: what serves, what served, the way back, and what the sources are told."""

from pathlib import Path

import pytest

from loomd.api.client import Client
from loomd.daemon import System
from loomd.errors import Conflict, NotFound
from loomd.manifest.delivery import Delivery
from loomd.manifest.source import SourceFile
from tests.api.talk import TEAM, apply, ask, say


async def test_history_and_undo(client: Client, system: System) -> None:
    """Every revision is listed with its cause; undo serves an earlier one as a new revision, with its files."""
    await apply(client, TEAM)
    await apply(client, TEAM.replace("everything", "all"))
    items = (await ask(client.get, "rollout", "history"))["items"]
    assert [(one["metadata"]["name"], one["status"]["serving"]) for one in items] == [("2", True), ("1", False)]
    assert items[0]["status"]["changes"] == ["Agent/ada changed: spec.description"]
    first = await ask(client.get, "rollout", "history", "1")
    assert first["files"] == [{"source": "/m", "root": "/m", "path": "a.yaml", "text": TEAM}]
    dry = await ask(client.post, "rollout", "undo", body={"dryRun": True})
    assert system.reconciler.number == 2
    done = await ask(client.post, "rollout", "undo", body={"to": 1})
    assert [one["object"] for one in done["changes"]] == [one["object"] for one in dry["changes"]]
    assert done["after"] == {"number": 3, "revision": first["spec"]["revision"]}
    assert (await ask(client.get, "rollout"))["revision"] == first["spec"]["revision"]
    history = (await ask(client.get, "rollout", "history"))["items"]
    assert history[0]["spec"]["cause"] == "undo"


@pytest.mark.parametrize(
    ("number", "status"),
    [("9", 404), ("x", 400), ("-1", 400), ("1.5", 400), ("²", 400), ("9" * 5000, 400), (str((1 << 63) - 1), 404)],
    ids=["unknown", "word", "negative", "fraction", "superscript", "endless", "greatest"],
)
async def test_unknown_revisions(client: Client, system: System, number: str, status: int) -> None:
    """A revision that is not stored is 404, a number that is none is 400."""
    await apply(client, TEAM)
    answer = await say(system, "GET", f"rollout/history/{number.replace('²', '%C2%B2')}")
    assert answer.status == status
    with pytest.raises(NotFound, match="no revision 99999999999999999999999"):
        await ask(client.post, "rollout", "undo", body={"to": 99999999999999999999999})


async def test_status_names_what_is_not_ready(client: Client) -> None:
    """What waits is listed with its reason; when all is ready nothing is."""
    await apply(client, TEAM)
    status = await ask(client.get, "rollout")
    assert (status["number"], status["objects"], status["stale"], status["waiting"]) == (1, 3, False, [])


async def test_an_undo_suspends_the_source(client: Client, system: System, tmp_path: Path) -> None:
    """A followed source does not take the rollback back: it is suspended until it is resumed."""
    for text in (TEAM, TEAM.replace("everything", "all")):
        delivery = Delivery("/f", (SourceFile(tmp_path, "a.yaml", text.encode()),), "directory")
        await system.reconciler.apply(delivery)
    await ask(client.post, "rollout", "undo", body={})
    source = await ask(client.get, "sources", "/f")
    assert source["spec"] == {"type": "directory", "suspended": True}
    assert source["status"]["reason"] == "rolled back to revision 1"
    assert {one["type"]: one["status"] for one in source["status"]["conditions"]}["Suspended"] == "True"
    with pytest.raises(Conflict, match="is suspended"):
        await system.reconciler.apply(delivery)
