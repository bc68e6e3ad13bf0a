"""What routes share: a body that is checked as it is decoded, parameters, whether work is taken. Decides nothing."""

from typing import TypeVar

import msgspec
from aiohttp import web

from loomd.api.problem import BadRequest
from loomd.daemon import System
from loomd.errors import Overloaded
from loomd.reconcile.stage import LAST_GOOD

T = TypeVar("T")

GREATEST = (1 << 63) - 1
"""Largest number that a parameter may have: the store counts no further."""

_FLAGS = {"": False, "0": False, "false": False, "1": True, "true": True}


async def read_body(request: web.Request, shape: type[T]) -> T:
    """Return the body of a request.

    Raises:
        BadRequest: it is no JSON or not of that shape; the text says where.
    """
    return decoded(await request.read(), shape)


def decoded(data: bytes, shape: type[T]) -> T:
    """Return a JSON value of a shape.

    Raises:
        BadRequest: it is no JSON or not of that shape; the text says where, and quotes no value.
    """
    try:
        return msgspec.json.decode(data, type=shape)
    except RecursionError:
        raise BadRequest("the body: nested too deeply") from None
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body: expected UTF-8: {error.reason}") from None
    except msgspec.MsgspecError as error:
        raise BadRequest(f"the body: {error}") from error


def flag(request: web.Request, name: str) -> bool:
    """Return whether a parameter of the address is set: `1` or `true`; `0`, `false` and nothing are not.

    Raises:
        BadRequest: it is something else.
    """
    said = request.query.get(name, "")
    if said not in _FLAGS:
        raise BadRequest(f"{name}: expected 1 or 0, got {said!r}")
    return _FLAGS[said]


def whole_number(said: str, name: str) -> int:
    """Return the whole number that a parameter or header holds.

    Raises:
        BadRequest: it is none, or too large.
    """
    if said.isascii() and said.isdecimal() and len(said) <= len(str(GREATEST)) and int(said) <= GREATEST:
        return int(said)
    raise BadRequest(f"{name}: expected a whole number up to {GREATEST}, got {said[:40]!r}")


def require_ready(system: System) -> None:
    """Refuse work while the daemon starts or stops, or cannot keep what is done.

    Raises:
        Overloaded: it does.
    """
    if not system.ready:
        raise Overloaded(system.fault or _unready(system), 1.0)


def _unready(system: System) -> str:
    if system.serves:
        return "the daemon is starting or draining and takes no work: try again later"
    rejected = system.reconciler.rejected
    if rejected.keys() == {LAST_GOOD}:
        why = f"what served last cannot be opened: {rejected[LAST_GOOD][0]}; the log has all of it"
    else:
        why = f"refused is {', '.join(sorted(rejected))}; `loomd describe sources` and the log say why"
    return f"nothing serves yet, so no work is taken: {why}"
