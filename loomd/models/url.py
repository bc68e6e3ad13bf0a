"""Fetches a model's file from an https address, going on where an earlier attempt stopped.

Plain http is refused except to this machine. Called by `loomd.models.fetch` only.
"""

import asyncio
import contextlib
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

from loomd.errors import NotFound, Permanent, Unauthorized, Unreachable
from loomd.models.target import Target

if TYPE_CHECKING:
    import aiohttp
    import yarl

_CHUNK = 1 << 20
_CONNECT_SECONDS = 15.0
_READ_SECONDS = 60.0


async def fetch(address: str, target: Target) -> None:
    """Download the file, resuming what is there, and land it.

    Raises:
        NotFound: the server has no such file.
        Unauthorized: the server wants a login.
        Unreachable: no connection, or it broke; what arrived is kept.
        Damaged: the bytes are not the expected ones; they are removed.
        Permanent: the address is refused.
        OSError: the disk is full or cannot be written.
    """
    import aiohttp  # noqa: PLC0415  # heavy, and only this source needs it

    kept = target.partial / f"{target.file.name}.download"
    have = _size(kept)
    wait = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS)
    if have < target.file.size:
        try:
            async with aiohttp.ClientSession(timeout=wait, trust_env=True) as session:
                await _download(session, address, kept, have, target)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable(f"{address}: {str(error) or type(error).__name__}") from error
    await target.land_file(kept, address)


async def _download(session: "aiohttp.ClientSession", address: str, kept: Path, have: int, target: Target) -> None:
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    check_address(address)
    async with session.get(address, headers=headers) as reply:
        for step in (*reply.history, reply):
            _check_url(step.url)
        _check_status(reply.status, address)
        if reply.status != 206:
            have = 0
        with kept.open("ab" if have else "wb") as out:
            async for chunk in reply.content.iter_chunked(_CHUNK):
                have += len(chunk)
                if have > target.file.size:
                    break  # too long to be right: the check that follows says so
                await asyncio.to_thread(out.write, chunk)
                target.progress(have, target.file.size)


def _size(path: Path) -> int:
    """Return the bytes of a file, 0 when there is none."""
    return path.stat().st_size if path.is_file() else 0


def _check_status(status: int, address: str) -> None:
    if status in {200, 206}:
        return
    if status in {401, 403}:
        raise Unauthorized(f"{address}: the server refused with status {status}")
    if status in {404, 410}:
        raise NotFound(f"{address}: the server has no such file (status {status})")
    raise Unreachable(f"{address}: the server answered with status {status}")


def check_address(address: str) -> None:
    """Check that an address is one that may be fetched.

    Raises:
        Permanent: it is neither https nor plain http to this machine.
    """
    import yarl  # noqa: PLC0415  # comes with aiohttp, which is imported late too

    try:
        url = yarl.URL(address)
    except ValueError as error:
        raise Permanent(f"{address}: not an address: {error}") from error
    _check_url(url)


def _check_url(url: "yarl.URL") -> None:
    local = url.host == "localhost"
    with contextlib.suppress(ValueError):
        local = local or ipaddress.ip_address(url.host or "").is_loopback
    if not (url.scheme == "https" or (url.scheme == "http" and local)):
        raise Permanent(f"{url}: only https is accepted (plain http only to this machine)")
