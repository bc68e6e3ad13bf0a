"""Pictures of a task: what is taken for one, where it is kept, and that whoever works on the task sees it."""

import asyncio
import base64
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from loomd.amoeba.task import Task
from loomd.daemon import Settings, System, open_system
from loomd.engine.images import lean
from loomd.engine.intake import is_same_wish, new_task
from loomd.errors import Permanent
from loomd.manifest.delivery import Delivery
from loomd.manifest.source import SourceFile
from loomd.messages import Image
from loomd.replay.export import export
from loomd.replay.player import replay
from loomd.tasks.attached import MAX_BYTES, images_of
from tests.providers.conftest import Service
from tests.providers.speech import GOOD

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 90_000).decode()
SYSTEM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: model}
spec: {type: TYPE, model: m, baseUrl: URL}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: model}
"""


def coded(data: bytes) -> str:
    """Return bytes as they are sent."""
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("data", "media"),
    [
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (b"\xff\xd8\xff\xe0...", "image/jpeg"),
        (b"GIF89a...", "image/gif"),
        (b"GIF87a...", "image/gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
    ],
)
def test_forms(data: bytes, media: str) -> None:
    """The first bytes say what a picture is, whatever its file is called."""
    assert images_of((coded(data),)) == (Image(media, coded(data)),)  # type: ignore[arg-type]  # parametrised


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        pytest.param(("no base64",), r"images\[0\]: expected base64", id="coding"),
        pytest.param((PNG, coded(b"<svg/>")), r"images\[1\]: expected PNG, JPEG, GIF or WebP", id="form"),
        pytest.param((coded(b"RIFF\x10\0\0\0WAVE"),), "expected PNG", id="sound"),
        pytest.param(("",), "expected PNG", id="empty"),
        pytest.param((coded(b"GIF89a" + b"\0" * MAX_BYTES),), "at most 5 MiB each", id="size"),
        pytest.param((coded(b"GIF89a" + b"\0" * (4 << 20)),) * 5, r"images\[3\]: .*16 MiB together", id="sum"),
    ],
)
def test_what_is_no_picture(contents: tuple[str, ...], says: str) -> None:
    """It is refused before a task is made of it, with its number and what to do."""
    with pytest.raises(Permanent, match=says):
        images_of(contents)


@pytest.fixture
async def service() -> AsyncGenerator[Service, None]:
    """Yield a service on this machine."""
    service = Service()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/{path:.*}", service.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield service
    await runner.cleanup()


def settings(folder: Path) -> Settings:
    """Return the settings for a folder."""
    return Settings(folder / "state", folder / "models", folder / "socket")


async def apply(system: System, folder: Path, service: Service, kind: str) -> None:
    """Let an agent on a service serve."""
    text = SYSTEM.replace("TYPE", kind).replace("URL", service.url)
    await system.reconciler.apply(Delivery("test", (SourceFile(folder, "a.yaml", text.encode()),)))


def pictured(goal: str, system: System) -> Task:
    """Return a task with a picture."""
    return msgspec.structs.replace(new_task(goal, system.clock), images=images_of((PNG,)))


def shown(body: dict[str, Any]) -> list[str]:
    """Return the pictures in what a service was sent."""
    parts = body["messages"][-1]["content"]
    urls = [part["image_url"]["url"].partition(",")[2] for part in parts if part["type"] == "image_url"]
    return urls + [part["source"]["data"] for part in parts if part["type"] == "image"]


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_a_picture_survives_an_interruption(service: Service, tmp_path: Path, kind: str) -> None:
    """It is on disk before the task is accepted, once, and not in the records that are read and written again."""
    asked, answer = asyncio.Event(), asyncio.Event()

    async def serve(_: web.Request) -> web.StreamResponse:
        asked.set()
        await answer.wait()
        return web.Response(body=GOOD[kind], content_type="text/event-stream")

    service.handler = serve
    async with open_system(settings(tmp_path)) as system:
        await apply(system, tmp_path, service, kind)
        wish = pictured("What is it?", system)
        task = await system.engine.submit(wish)
        await asked.wait()
        await system.engine.drain(0)
    answer.set()
    async with open_system(settings(tmp_path)) as system:
        await apply(system, tmp_path, service, kind)
        assert await system.engine.resume() == [task]
        result = await system.engine.result(task)
        record = await system.store.get_task(task)
        assert record is not None
        kept = msgspec.json.decode(record.body, type=Task)
        again = await system.engine.result(await system.engine.retry(task))
        cassette = await export(system.store, task)
    assert [shown(body) for body in service.bodies] == [[PNG]] * 3
    assert result.phase == again.phase == "Succeeded"
    assert kept.images == result.task.images == lean(wish).images
    assert kept.images[0].data.startswith("sha256:")
    assert len(record.body) + len(record.result) < 10_000
    assert is_same_wish(wish, kept)
    assert not is_same_wish(msgspec.structs.replace(wish, images=()), kept)
    assert (await replay(cassette)).whole


async def test_a_picture_that_is_lost(service: Service, tmp_path: Path) -> None:
    """A task that is not kept has none to run again with, and says so instead of asking without it."""
    service.says(GOOD["openai"])
    async with open_system(settings(tmp_path)) as system:
        await apply(system, tmp_path, service, "openai")
        wish = pictured("What is it?", system)
        task = await system.engine.submit(msgspec.structs.replace(wish, durability="none"))
        assert (await system.engine.result(task)).phase == "Succeeded"
        with pytest.raises(Permanent, match=r"its image sha256:.* is not kept: submit it again"):
            await system.engine.retry(task)
    assert len(service.bodies) == 1


async def test_parts_see_it_too(service: Service, tmp_path: Path) -> None:
    """Whoever does a part of the task sees what the task shows."""
    service.says(GOOD["openai"])
    cluster = """
---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: planner}
spec:
  type: scripted
  replies: [{json: {parts: [{goal: left, needs: []}, {goal: right, needs: []}]}, times: null}]
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: default}
spec: {agents: [ada], planner: planner, scale: {type: threshold}, merge: join}
"""
    text = SYSTEM.replace("TYPE", "openai").replace("URL", service.url) + cluster
    async with open_system(settings(tmp_path)) as system:
        await system.reconciler.apply(Delivery("test", (SourceFile(tmp_path, "a.yaml", text.encode()),)))
        goal = "Compare and analyse, then split; then report in detail; and also conclude"
        task = await system.engine.submit(pictured(goal, system))
        result = await system.engine.result(task)
    assert result.executed is not None
    assert len(result.executed.children) == 2
    assert [shown(body) for body in service.bodies] == [[PNG]] * 2
