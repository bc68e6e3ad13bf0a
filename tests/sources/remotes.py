"""Real git servers on loopback: `git daemon`, `git http-backend` behind an HTTP server, and `sshd`."""

import base64
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.ports import free_port

NAME = "team.git"
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
}


def run(*command: str, folder: Path, feed: bytes = b"", variables: Mapping[str, str] | None = None) -> str:
    """Run a command, and return what it prints."""
    environment = ENVIRONMENT | {"HOME": str(folder)} | dict(variables or {})
    done = subprocess.run(command, cwd=folder, input=feed, env=environment, capture_output=True, check=False)  # noqa: S603  # our own command
    assert done.returncode == 0, done.stderr.decode()
    return os.fsdecode(done.stdout).strip()


class Repository:
    """A bare repository that servers hand out, and a work tree from which it is filled.

    Attributes:
        served: the folder that servers are given; the bare repository in it is `team.git`.
    """

    def __init__(self, folder: Path, form: str = "sha1") -> None:
        self.work = folder / "work"
        self.served = folder / "served"
        self.bare = self.served / NAME
        self.work.mkdir(parents=True)
        self.served.mkdir()
        start = ("git", "init", "--quiet", f"--object-format={form}", "--initial-branch=main")
        run(*start, str(self.work), folder=folder)
        run(*start, "--bare", str(self.bare), folder=folder)
        run("git", "config", "receive.denyDeleteCurrent", "ignore", folder=self.bare)

    def git(self, *arguments: str, feed: bytes = b"") -> str:
        """Run git in the work tree."""
        return run("git", *arguments, folder=self.work, feed=feed)

    def write(self, files: Mapping[str, bytes | None]) -> None:
        """Write files of the work tree; None removes one."""
        for path, data in files.items():
            place = self.work / path
            if data is None:
                place.unlink()
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)

    def commit(self, files: Mapping[str, bytes | None] | None = None, *options: str) -> str:
        """Commit files on the branch that is checked out, and return the hash."""
        self.write(files or {})
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", "change", *options)
        return self.git("rev-parse", "HEAD")

    def push(self, *refs: str) -> None:
        """Push refs by force; by default the branch `main`."""
        self.git("push", "--quiet", "--force", str(self.bare), *(refs or ("HEAD:refs/heads/main",)))

    def publish(self, files: Mapping[str, bytes | None] | None = None) -> str:
        """Commit files, push the branch `main`, and return the hash."""
        made = self.commit(files)
        self.push()
        return made


@contextmanager
def server(*command: str, says: str, folder: Path) -> Generator[None, None, None]:
    """Run a server, from when it says that it is ready, for as long as the context lasts."""
    with subprocess.Popen(  # noqa: S603  # our own command
        command, cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stderr is not None
        try:
            said: list[str] = []
            for line in process.stderr:
                said.append(line.decode())
                if says in said[-1]:
                    break
            else:
                raise AssertionError(f"{command[0]} did not start:\n{''.join(said)}")
            draining = threading.Thread(target=process.stderr.read)
            draining.start()
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
        draining.join()


@contextmanager
def git_daemon(served: Path, port: int = 0) -> Generator[str, None, None]:
    """Serve repositories by the protocol of git, and yield the address of `team.git`."""
    port = port or free_port()
    command = ("git", "daemon", "--reuseaddr", "--export-all", "--informative-errors", "--verbose")
    place = (f"--base-path={served}", "--listen=127.0.0.1", f"--port={port}")
    with server(*command, *place, says="Ready to rumble", folder=served):
        yield f"git://127.0.0.1:{port}/{NAME}"


@dataclass
class HttpRemote:
    """What an HTTP server does, and what it was asked.

    Attributes:
        served: folder of the repositories.
        login: user and password that it wants, `user:password`; empty: none.
        status: answers every request with this instead.
        location: where a redirect leads to.
        speaks: whether it lets clients choose the newer protocol.
        stalls: holds every request back for as long as it is set.
        cut: sends only so many bytes of each fetch, and then nothing until the client gives up; 0: all.
        asked: method and path of every request.
        logins: what each request had as its login.
    """

    served: Path
    login: str = ""
    status: HTTPStatus | None = None
    location: str = ""
    speaks: bool = True
    cut: int = 0
    stalls: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list[str])
    logins: list[str] = field(default_factory=list[str])
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    """Hands requests to `git http-backend` by CGI."""

    protocol_version = "HTTP/1.1"
    remote: HttpRemote

    def do_GET(self) -> None:
        """Answer a request."""
        remote = self.remote
        remote.asked.append(f"{self.command} {self.path}")
        given = self.headers.get("Authorization", "")
        login = base64.b64decode(given.removeprefix("Basic ")).decode() if given else ""
        remote.logins.append(login)
        body = self._body()
        self._wait(remote.stalls.is_set)
        if remote.status is not None:
            extra = {"Location": remote.location} if remote.location else {}
            self._answer(remote.status, extra, b"<html>\n<p>no</p>\n</html>\n")
        elif remote.login and login != remote.login:
            self._answer(HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": 'Basic realm="git"'}, b"who are you?")
        else:
            self._answer(*self._backend(body))

    do_POST = do_GET  # noqa: N815  # the name is the protocol's

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        return b"".join(self._chunks())

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _backend(self, body: bytes) -> tuple[HTTPStatus, dict[str, str], bytes]:
        path, _, query = self.path.partition("?")
        variables = {
            "GIT_PROJECT_ROOT": str(self.remote.served),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", "") if self.remote.speaks else "",
        }
        environment = ENVIRONMENT | variables
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=False)  # noqa: S607  # any git
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        status = HTTPStatus(int(headers.pop("Status", "200").split()[0]))
        return status, headers, answer

    def _answer(self, status: HTTPStatus, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = self.remote.cut if b"PACK" in body else 0
        if cut:
            self.wfile.write(body[:cut])
            self.wfile.flush()
            self._wait(lambda: bool(self.remote.cut))
        with suppress(ConnectionError):
            self.wfile.write(body[cut:])

    def _wait(self, holds: Callable[[], bool]) -> None:
        while holds() and _is_open(self.connection):
            threading.Event().wait(0.02)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the base class's
        """Say nothing."""


def _is_open(connection: socket.socket) -> bool:
    """Return whether a client is still there; it says nothing while it waits."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


@contextmanager
def http_server(served: Path) -> Generator[HttpRemote, None, None]:
    """Serve repositories by HTTP, and yield what tells the server how."""
    remote = HttpRemote(served)
    handler = type("Handler", (_Handler,), {"remote": remote})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        remote.url = f"http://127.0.0.1:{listening.server_port}/{NAME}"
        serving = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        try:
            yield remote
        finally:
            remote.stalls.clear()
            remote.cut = 0
            listening.shutdown()
            serving.join()


@dataclass(frozen=True)
class SshRemote:
    """An `sshd` with its own keys: the address of `team.git`, and the files of a client."""

    url: str
    key: Path
    known_hosts: Path


@contextmanager
def ssh_server(served: Path, folder: Path) -> Generator[SshRemote, None, None]:
    """Serve repositories by ssh to the user who runs the tests."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if sshd is None:
        pytest.skip("needs sshd: install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    folder.mkdir()
    host, key = folder / "host", folder / "key"
    for one in (host, key):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(one), folder=folder)
    port = free_port()
    (folder / "authorized").write_bytes(key.with_suffix(".pub").read_bytes())
    kind, public, *_ = host.with_suffix(".pub").read_text().split()
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {kind} {public}\n")
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": host,
        "AuthorizedKeysFile": folder / "authorized",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
    }
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    user = run("id", "--user", "--name", folder=folder)
    with server(sshd, "-D", "-e", "-f", str(folder / "sshd_config"), says="listening on", folder=folder):
        yield SshRemote(f"ssh://{user}@127.0.0.1:{port}{served}/{NAME}", key, known)


def processes(text: str) -> list[str]:
    """Return the command lines of the processes whose command line or environment holds a text."""
    found: list[str] = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (place / "cmdline").read_bytes()
            if text.encode() in command or text.encode() in (place / "environ").read_bytes():
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found
