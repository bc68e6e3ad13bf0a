"""A small client of the API over its Unix socket, for the command line: synchronous, standard library only.

What the daemon refuses is raised again as the error that it was there.
"""

import json
import os
import socket
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import platformdirs

from loomd.api import problem
from loomd.errors import Temporary, Unreachable

PREFIX = "/apis/loomd.dev/v1"

Json = dict[str, Any]
"""A decoded JSON object."""


def default_socket() -> Path:
    """Return the daemon's socket: `LOOMD_SOCKET`, or `loomd.sock` in the user's runtime or else data directory.

    Never in a folder that others may write to: whoever makes a socket there first would be talked to.
    """
    given = os.environ.get("LOOMD_SOCKET")
    if given:
        return Path(given).expanduser().absolute()
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(runtime) / "loomd" if runtime else Path(platformdirs.user_data_dir("loomd", appauthor=False))
    return folder / "loomd.sock"


class Client:
    """Talks to the daemon behind a socket; every call is one connection."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, *parts: str, **query: str) -> Json:
        """Return the JSON object at `/apis/loomd.dev/v1/<parts>`.

        Raises:
            Unreachable: no daemon listens.
            LoomdError: what the daemon refused.
        """
        return self._call("GET", _path(parts, query))

    def post(self, *parts: str, body: Mapping[str, Any]) -> Json:
        """Send a JSON object and return the answer."""
        return self._call("POST", _path(parts, {}), json.dumps(body).encode())

    def delete(self, *parts: str) -> Json:
        """Delete what a path names and return the answer."""
        return self._call("DELETE", _path(parts, {}))

    def events(self, after: int = 0, task: str = "", follow: bool = False) -> Iterator[Json]:
        """Yield events with their `seq`, oldest first; of one task and its children when given.

        Args:
            after: sequence number that is already known.
            task: id of a task, or empty for all.
            follow: go on with what happens, until the daemon stops.
        """
        query = {"after": str(after), "task": task, "follow": "1" if follow else "0"}
        with self._send("GET", f"/v1/events?{urlencode(query)}", b"") as response:
            yield from _events(response, self._path)

    def _call(self, method: str, path: str, body: bytes = b"") -> Json:
        with self._send(method, path, body) as response:
            answer: Json = json.loads(response.read())
            return answer

    @contextmanager
    def _send(self, method: str, path: str, body: bytes) -> Generator[HTTPResponse]:
        """Yield the answer to a request; the connection ends with the context."""
        with closing(_UnixConnection(self._path)) as connection:
            headers = {"Content-Type": "application/json"} if body else {}
            try:
                connection.request(method, path, body or None, headers)
                response = connection.getresponse()
            except (FileNotFoundError, ConnectionRefusedError) as error:
                raise Unreachable(f"no daemon at {self._path}: start one with `loomd serve`") from error
            except (OSError, HTTPException) as error:
                raise Unreachable(f"the daemon at {self._path} cannot be asked: {error}") from error
            with response:
                if response.status >= 300:
                    raise problem.from_json(_decode(response.read()), response.status)
                yield response


class _UnixConnection(HTTPConnection):
    """An HTTP connection over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.connect(str(self._path))
        except BaseException:
            self.sock.close()
            raise


def _path(parts: tuple[str, ...], query: Mapping[str, str]) -> str:
    path = "/".join([PREFIX, *(quote(part, safe="") for part in parts)])
    return f"{path}?{urlencode(query)}" if query else path


def _decode(data: bytes) -> object:
    try:
        return json.loads(data)
    except ValueError:
        return None


def _events(response: HTTPResponse, path: Path) -> Iterator[Json]:
    """Yield the events of a server-sent stream.

    Raises:
        Temporary: the daemon ended the stream with an error.
        Unreachable: the stream broke off.
    """
    seq, kind = 0, ""
    try:
        for line in response:
            name, _, value = line.rstrip(b"\n").partition(b": ")
            if name == b"id":
                seq = int(value)
            elif name == b"event":
                kind = value.decode()
            elif name == b"data":
                if kind == "error":
                    raise Temporary(str(_decode(value)))
                event: Json = json.loads(value)
                event["seq"] = seq
                yield event
            elif not name:
                seq, kind = 0, ""
    except (OSError, HTTPException) as error:
        raise Unreachable(f"the daemon at {path} ended the stream: {error}") from error
