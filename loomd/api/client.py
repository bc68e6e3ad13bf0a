"""A small client of the API over its Unix socket, for the command line: synchronous, standard library only.

What the daemon refuses is raised again as the error that it was there.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import platformdirs

from loomd.api import problem
from loomd.api.path import PREFIX
from loomd.errors import Unreachable

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


def _heard_by_nobody() -> None:
    return


@dataclass
class Asked:
    """What a reader of events wants, and how far it has come.

    Attributes:
        after: number of the last event that it knows, or -1 for all that were there when it began.
        task: id of a task: only its events and its children's.
        types: types of events, or patterns such as `tool.*`.
        namespace: only events of this namespace.
        since: only events after this moment, in wall-clock seconds.
        opened: whether the daemon has taken the question at least once.
        ended: whether nothing more is wanted.
        when_opened: is called whenever the daemon has taken it: from then on nothing is missed.
    """

    after: int = 0
    task: str = ""
    types: tuple[str, ...] = ()
    namespace: str = ""
    since: float = 0.0
    opened: bool = False
    ended: bool = False
    when_opened: Callable[[], object] = _heard_by_nobody
    _stream: socket.socket | None = None

    def took(self, stream: socket.socket) -> None:
        """Note that the daemon took the question, and answers on a socket."""
        self.opened, self._stream = True, stream
        if self.ended:
            self.end()
        self.when_opened()

    def end(self) -> None:
        """Let whoever reads the answer, in whichever thread, come to its end."""
        self.ended = True
        if self._stream is not None:
            with suppress(OSError):  # it is closed already
                self._stream.shutdown(socket.SHUT_RDWR)

    def query(self) -> list[tuple[str, str]]:
        """Return the parameters of a request."""
        said = {
            "after": "now" if self.after < 0 else str(self.after),
            "task": self.task,
            "namespace": self.namespace,
            "since": f"{self.since:.6f}" if self.since else "",
        }
        return [*((name, value) for name, value in said.items() if value), *(("type", one) for one in self.types)]


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

    def items(
        self, parts: tuple[str, ...], query: Mapping[str, str] | None = None, most: int = 0
    ) -> tuple[list[Json], bool]:
        """Return the items of a list, page after page, and whether there are more than `most`; 0 is for all."""
        items: list[Json] = []
        asked = dict(query or {})
        while True:
            if most:
                asked["limit"] = str(most - len(items))
            page = self.get(*parts, **asked)
            items += page["items"]
            after = page.get("metadata", {}).get("continue")
            if after is None or len(items) == most:
                return items, after is not None
            asked["continue"] = after

    def post(self, *parts: str, body: Mapping[str, Any]) -> Json:
        """Send a JSON object and return the answer."""
        return self._call("POST", _path(parts, {}), json.dumps(body).encode())

    def put(self, *parts: str, body: Mapping[str, Any], version: str = "", **query: str) -> Json:
        """Replace what a path names and return the answer.

        Args:
            parts: the path.
            body: what replaces it.
            version: the version that the caller has seen; another one is a `Conflict`.
            query: parameters.
        """
        return self._call("PUT", _path(parts, query), json.dumps(body).encode(), version)

    def delete(self, *parts: str, version: str = "", **query: str) -> Json:
        """Delete what a path names and return the answer."""
        return self._call("DELETE", _path(parts, query), version=version)

    def watch(self, *parts: str, until: float | None = None, **query: str) -> Iterator[Json]:
        """Yield what is there and what becomes of it: `{"type": "ADDED", "object": {...}}`.

        `BOOKMARK` comes when all that is there was told.

        Args:
            parts: the path of a list.
            until: monotonic seconds at which to give up.
            query: parameters.

        Raises:
            TimeoutError: the time is over.
            Unreachable: the daemon stops.
        """
        path = _path(parts, {**query, "watch": "1"})
        with self._send("GET", path, b"", until=until) as response:
            yield from _events(response, self._path)
        raise Unreachable(f"the daemon at {self._path} stopped, and tells nothing more")

    def events(
        self, after: int = 0, task: str = "", follow: bool = False, asked: "Asked | None" = None
    ) -> Iterator[Json]:
        """Yield events with their `seq`, oldest first; of one task and its children when given.

        Args:
            after: sequence number that is already known.
            task: id of a task, or empty for all.
            follow: go on with what happens, until the daemon stops.
            asked: more about what is wanted, and how far the reader has come, in place of `after` and `task`.
        """
        wanted = Asked(after, task) if asked is None else asked
        query = [*wanted.query(), ("follow", "1" if follow else "0")]
        with self._send("GET", f"/v1/events?{urlencode(query)}", b"", asked=wanted) as response:
            yield from _events(response, self._path, wanted)

    def _call(self, method: str, path: str, body: bytes = b"", version: str = "") -> Json:
        with self._send(method, path, body, version) as response:
            answer: Json = json.loads(response.read())
            return answer

    @contextmanager
    def _send(
        self,
        method: str,
        path: str,
        body: bytes,
        version: str = "",
        until: float | None = None,
        asked: Asked | None = None,
    ) -> Generator[HTTPResponse]:
        """Yield the answer to a request; the connection ends with the context.

        Raises:
            TimeoutError: `until` has passed.
        """
        with closing(_UnixConnection(self._path, until)) as connection:
            headers = {"Content-Type": "application/json"} if body else {}
            if version:
                headers["If-Match"] = f'"{version}"'
            try:
                connection.request(method, path, body or None, headers)
                stream = connection.sock
                response = connection.getresponse()
            except (FileNotFoundError, ConnectionRefusedError) as error:
                raise Unreachable(f"no daemon at {self._path}: start one with `loomd serve`") from error
            except TimeoutError:
                raise
            except (OSError, HTTPException) as error:
                raise Unreachable(f"the daemon at {self._path} cannot be asked: {error}") from error
            with response:
                if response.status >= 300:
                    raise problem.from_json(_decode(response.read()), response.status)
                if asked is not None:
                    asked.took(stream)
                yield response


class _Deadline(socket.socket):
    """A socket whose reads end at a moment, however much or little arrives until then."""

    until: float | None = None

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive, at most until then.

        Raises:
            TimeoutError: that moment has come.
        """
        if self.until is not None:
            left = self.until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.settimeout(left)
        return super().recv_into(buffer, nbytes, flags)


class _UnixConnection(HTTPConnection):
    """An HTTP connection over a Unix socket."""

    def __init__(self, path: Path, until: float | None = None) -> None:
        super().__init__("localhost")
        self._path = path
        self._until = until

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = _Deadline(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.until = self._until
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


def _events(response: HTTPResponse, path: Path, asked: Asked | None = None) -> Iterator[Json]:
    """Yield the events of a server-sent stream, and note how far it came.

    Raises:
        TimeoutError: the time for it is over.
        LoomdError: the daemon ended the stream with an error.
        Unreachable: the stream broke off.
    """
    seq, kind = 0, ""
    try:
        for line in response:
            if not line.endswith(b"\n"):
                raise Unreachable(f"the daemon at {path} broke off in the middle of a line")
            name, _, value = line.rstrip(b"\n").partition(b": ")
            if name == b"id":
                seq = int(value)
            elif name == b"event":
                kind = value.decode()
            elif name == b"data":
                if kind == "error":
                    raise problem.from_json(_decode(value), 503)
                event: Json = json.loads(value)
                _note(asked, seq)
                yield event | {"seq": seq} if seq or "type" not in event else event
            elif not name and line == b"\n":
                _note(asked, seq)
                seq, kind = 0, ""
    except TimeoutError:
        raise
    except (OSError, HTTPException) as error:
        raise Unreachable(f"the daemon at {path} ended the stream: {error}") from error


def _note(asked: Asked | None, seq: int) -> None:
    if asked is not None and seq:
        asked.after = seq
