"""Sources over the API: what they tried, reconcile, suspend and resume, on folders that are followed for real."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest

from loomd.api.client import Client
from loomd.daemon import System
from loomd.errors import Conflict, NotFound
from loomd.events.event import ConfigLoaded, Event
from tests.api.talk import TEAM, apply, ask, say, served


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with manifests."""
    made = tmp_path / "manifests"
    made.mkdir()
    (made / "team.yaml").write_text(TEAM)
    return made


@pytest.fixture
async def system(tmp_path: Path, folder: Path) -> AsyncGenerator[System, None]:
    """Yield a system that follows the folder, and hears no event of it within an hour."""
    async with served(tmp_path, watch=(folder,)) as opened:
        opened.reconciler.announce(str(folder), "directory")
        await opened.sources.start()
        running = asyncio.ensure_future(opened.sources.run())
        yield opened
        running.cancel()
        await asyncio.wait([running])


def heard(system: System) -> Callable[[], Awaitable[object]]:
    """Return what waits for the next revision."""
    loaded = asyncio.Event()

    def hear(event: Event) -> None:
        if isinstance(event.data, ConfigLoaded):
            loaded.set()

    system.bus.subscribe(hear)
    return loaded.wait


async def test_a_source_is_shown(client: Client, folder: Path) -> None:
    """Attempts, inventory, the applied revision and conditions, by a name that is a path."""
    found = await ask(client.get, "sources", str(folder))
    assert found["spec"] == {"type": "directory", "suspended": False}
    status = found["status"]
    assert status["inventory"] == ["Agent/default/ada", "Cluster/default/team", "Provider/default/script"]
    assert status["lastAppliedRevision"] == status["lastAttemptedRevision"] != ""
    assert [one["outcome"] for one in status["attempts"]] == ["applied"]
    listed = (await ask(client.get, "sources"))["items"]
    assert [one["metadata"]["name"] for one in listed] == [str(folder)]


async def test_suspend_and_resume(client: Client, system: System, folder: Path) -> None:
    """A suspended source is not taken; resumed, it delivers what it holds now."""
    name = str(folder)
    suspended = await ask(client.post, "sources", name, "suspend", body={"reason": "repairs"})
    assert suspended["spec"]["suspended"] is True
    assert suspended["status"]["reason"] == "repairs"
    with pytest.raises(Conflict, match=f"loomd resume {name}"):
        await ask(client.post, "sources", name, "reconcile", body={})
    (folder / "team.yaml").write_text(TEAM.replace("everything", "all"))
    wait = heard(system)
    resumed = await say(system, "POST", f"sources/{name.replace('/', '%2F')}/resume")
    assert (resumed.status, resumed.json["spec"]["suspended"]) == (200, False)
    await wait()
    assert system.reconciler.number == 2


async def test_reconcile_is_accepted(client: Client, system: System, folder: Path) -> None:
    """The answer comes at once with status 202 and the state; the source delivers soon."""
    wait = heard(system)
    (folder / "team.yaml").write_text(TEAM.replace("everything", "all"))
    answer = await say(system, "POST", f"sources/{str(folder).replace('/', '%2F')}/reconcile")
    assert answer.status == 202
    assert answer.json["metadata"]["name"] == str(folder)
    await wait()
    assert system.reconciler.number == 2
    assert (await ask(client.get, "sources", str(folder)))["status"]["attempts"][0]["outcome"] == "applied"


@pytest.mark.parametrize("verb", ["reconcile", "suspend", "resume"])
async def test_what_is_not_followed(client: Client, verb: str) -> None:
    """A source of an ad-hoc apply cannot be driven, an unknown one is not found, with the one that may be meant."""
    await apply(client, TEAM.partition("---")[0].replace("name: script", "name: other"))
    with pytest.raises(Conflict, match="is not followed"):
        await ask(client.post, "sources", "/m", verb, body={})
    with pytest.raises(NotFound, match="no source"):
        await ask(client.post, "sources", "git/default/none", verb, body={})


async def test_a_refused_delivery_is_kept_with_its_problems(client: Client, system: System, folder: Path) -> None:
    """What is wrong with the newest files stays readable: on the source, in readiness, and in the metric."""
    (folder / "team.yaml").write_text(TEAM.replace("provider: script", "provider: skript"))
    await system.sources.start()
    status = (await ask(client.get, "sources", str(folder)))["status"]
    assert status["attempts"][0]["outcome"] == "refused"
    problem = status["attempts"][0]["problems"][0]
    assert (problem["code"], problem["line"] > 1) == ("unresolved-reference", True)
    assert status["lastAppliedRevision"] != status["lastAttemptedRevision"]
    ready = await say(system, "GET", "/readyz?verbose")
    assert ready.status == 200
    assert f"[-]source {folder} refused, 1 problem:" in ready.text
    assert "[-]config stale" in ready.text
    assert "loomd_config_last_reload_successful 0" in (await say(system, "GET", "/metrics")).text
