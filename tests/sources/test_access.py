"""Credentials at real servers: who is let in, what is refused, and where a secret can be seen meanwhile."""

import asyncio
import secrets
import shutil
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from tests.clocks import skip
from tests.sources.conftest import Follow, Following
from tests.sources.recording import Recording
from tests.sources.remotes import HttpRemote, Repository, SshRemote, processes, run

GOOD = {"a.yaml": b"a: 1\n"}


@pytest.fixture
def secret(tmp_path: Path) -> str:
    """Return a made-up secret that stands in the file `secret`."""
    made = secrets.token_hex(16)
    (tmp_path / "secret").write_text(f"{made}\n")
    return made


def held(path: Path) -> dict[str, Any]:
    """Return the place of a secret."""
    return {"valueFrom": {"file": str(path)}}


def login(tmp_path: Path) -> dict[str, Any]:
    """Return user and password."""
    return {"username": "ada", "password": held(tmp_path / "secret")}


@pytest.mark.parametrize("speaks", [True, False], ids=["version-2", "version-0"])
@pytest.mark.parametrize("ref", ["branch", "commit"])
async def test_a_password_opens_a_repository(
    http: HttpRemote, follow: Follow, tmp_path: Path, secret: str, speaks: bool, ref: str, repository: Repository
) -> None:
    """User and password are given when the server asks, also to servers that speak only the old protocol."""
    http.login, http.speaks = f"ada:{secret}", speaks
    wanted = {ref: "main" if ref == "branch" else repository.git("rev-parse", "HEAD")}
    kept = await follow(http.url, auth=login(tmp_path), ref=wanted).scan()
    assert kept.rejected == []
    assert kept.contents == GOOD
    assert http.logins[0] == ""


async def test_a_token_opens_a_repository(http: HttpRemote, follow: Follow, tmp_path: Path, secret: str) -> None:
    """It is the password of a user that hosting services do not look at."""
    http.login = f"x-access-token:{secret}"
    kept = await follow(http.url, auth={"token": held(tmp_path / "secret")}).scan()
    assert kept.contents == GOOD


async def test_a_secret_is_read_anew_for_each_contact(
    http: HttpRemote, follow: Follow, tmp_path: Path, secret: str, repository: Repository
) -> None:
    """A wrong one is refused without being shown; a new one in the same file opens the repository."""
    http.login = "ada:another"
    team = follow(http.url, auth=login(tmp_path))
    kept = await team.scan()
    assert "Authentication failed" in kept.rejected[0]
    assert "mend the secret that it names" in kept.rejected[0]
    (tmp_path / "secret").write_text("another")
    await team.scan()
    assert kept.contents == GOOD
    repository.publish({"a.yaml": b"a: 2\n"})
    (tmp_path / "secret").unlink()
    await team.scan()
    assert "GitSource/team spec.auth.password: cannot read" in kept.rejected[1]
    assert secret not in "".join(kept.rejected)


async def test_a_password_must_be_one_line(http: HttpRemote, follow: Follow, tmp_path: Path) -> None:
    """Else it could tell git another host or user."""
    (tmp_path / "secret").write_text("one\nhost=evil.example")
    kept = await follow(http.url, auth=login(tmp_path)).scan()
    assert "expected one line of printable text (hidden)" in kept.rejected[0]
    assert http.asked == []


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (HTTPStatus.FORBIDDEN, "returned error: 403: the remote refuses spec.auth"),
        (HTTPStatus.NOT_FOUND, "not found: mend spec.url"),
        (HTTPStatus.TOO_MANY_REQUESTS, "returned error: 429: it is asked again later"),
        (HTTPStatus.BAD_GATEWAY, "returned error: 502: it is asked again later"),
        (HTTPStatus.FOUND, "redirects are not followed: write the address that it leads to"),
        (HTTPStatus.OK, "not valid: is this a git repository?"),
    ],
    ids=["forbidden", "not-found", "too-many", "bad-gateway", "redirect", "no-git"],
)
async def test_what_a_server_answers_is_told(
    http: HttpRemote, follow: Follow, tmp_path: Path, secret: str, status: HTTPStatus, says: str
) -> None:
    """The answer is told with the next act, and no secret goes where a redirect leads to."""
    http.status, http.location = status, http.url.replace("team", "other")
    kept = await follow(http.url, auth=login(tmp_path)).scan()
    assert says in kept.rejected[0]
    assert not any("other" in one for one in http.asked)
    assert secret not in "".join(kept.rejected)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:1/team.git", "Failed to connect"),
        ("https://127.0.0.1:1/team.git", "Failed to connect"),
        ("git://127.0.0.1:1/team.git", "Connection refused"),
        ("http://no.invalid/team.git", "resolve host"),
        ("file:///no/such/team.git", "does not appear to be a git repository"),
    ],
    ids=["http", "https", "git", "no-name", "no-file"],
)
async def test_a_remote_that_is_not_there_is_told(follow: Follow, url: str, says: str) -> None:
    """The message names the address and the reason."""
    kept = await follow(url).scan()
    assert f"GitSource/team {url}: " in kept.rejected[0]
    assert says in kept.rejected[0]


@pytest.mark.parametrize("with_cut", [False, True], ids=["silent", "half-way"])
async def test_a_remote_that_hangs_is_given_up(
    http: HttpRemote, follow: Follow, with_cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time that the manifest gives, git and all that it started are gone."""
    http.cut = 100 if with_cut else 0
    if not with_cut:
        http.stalls.set()
    scanning = asyncio.ensure_future(follow(http.url, timeout="60s").scan())
    while not http.asked:  # noqa: ASYNC110  # a thread counts them
        await asyncio.sleep(0.01)
    skip(60, monkeypatch)
    kept = await scanning
    assert "did not answer within 60 s (spec.timeout)" in kept.rejected[0]
    assert processes(http.url) == []


async def test_nobody_sees_a_secret(
    http: HttpRemote,
    follow: Follow,
    tmp_path: Path,
    secret: str,
    caplog: pytest.LogCaptureFixture,
    repository: Repository,
) -> None:
    """While git waits for the remote it stands in no command line and no environment, later in no file and no text."""
    http.login = f"ada:{secret}"
    team = follow(http.url, auth=login(tmp_path), interval="10ms")
    (repository.bare / "packed-refs").touch()
    async with team.running() as kept:
        await kept.serves(GOOD)
        http.stalls.set()
        asked = len(http.asked)
        while len(http.asked) == asked:  # noqa: ASYNC110  # a thread counts them
            await asyncio.sleep(0.01)
        assert processes(http.url)
        assert processes(secret) == []
    state = [path.read_bytes() for path in team.place.folder.rglob("*") if path.is_file()]
    assert state
    assert not any(secret.encode() in data for data in state)
    assert secret not in caplog.text


async def test_the_environment_of_the_daemon_is_not_handed_on(
    http: HttpRemote, follow: Follow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Git sees neither the daemon's variables nor anybody's settings; a hostile one has no effect."""
    canary = secrets.token_hex(16)
    trap = tmp_path / "trap"
    settings = tmp_path / "gitconfig"
    settings.write_text(f'[url "file:///"]\n insteadOf = http://\n[core]\n sshCommand = touch {trap}\n')
    for name, value in {
        "GIT_CONFIG_GLOBAL": str(settings),
        "GIT_CONFIG_PARAMETERS": "'core.pager=x'",
        "GIT_DIR": str(tmp_path),
        "GIT_SSH_COMMAND": f"touch {trap}",
        "OPENAI_API_KEY": canary,
    }.items():
        monkeypatch.setenv(name, value)
    http.stalls.set()
    scanning = asyncio.ensure_future(follow(http.url).scan())
    while not http.asked:  # noqa: ASYNC110  # a thread counts them
        await asyncio.sleep(0.01)
    assert processes(http.url)
    assert processes(canary) == []
    http.stalls.clear()
    assert (await scanning).contents == GOOD
    assert not trap.exists()


def with_key(ssh: SshRemote) -> dict[str, Any]:
    """Return the credentials of an ssh server."""
    return {"sshKey": held(ssh.key), "knownHosts": held(ssh.known_hosts)}


@pytest.mark.parametrize("ref", ["branch", "commit"])
async def test_a_key_opens_a_repository(ssh: SshRemote, follow: Follow, repository: Repository, ref: str) -> None:
    """By ssh, with a key in a file and a known host."""
    wanted = {ref: "main" if ref == "branch" else repository.git("rev-parse", "HEAD")}
    kept = await follow(ssh.url, auth=with_key(ssh), ref=wanted, timeout="60s").scan()
    assert kept.rejected == []
    assert kept.contents == GOOD


def _forget_host(ssh: SshRemote) -> None:
    ssh.known_hosts.write_text("\n# none\n")


def _other_host(ssh: SshRemote) -> None:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "other", folder=ssh.key.parent)
    name = ssh.known_hosts.read_text().split()[0]
    public = ssh.key.with_name("other.pub").read_text().split()
    ssh.known_hosts.write_text(f"{name} {public[0]} {public[1]}\n")


def _other_key(ssh: SshRemote) -> None:
    ssh.key.unlink()
    ssh.key.with_suffix(".pub").unlink()
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(ssh.key), folder=ssh.key.parent)


def _open_key(ssh: SshRemote) -> None:
    ssh.key.chmod(0o644)


def _no_key(ssh: SshRemote) -> None:
    ssh.key.write_text("-----BEGIN NOTHING-----\n")


def _gone_key(ssh: SshRemote) -> None:
    ssh.key.unlink()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_forget_host, "the host's key is not in spec.auth.knownHosts"),
        (_other_host, "the host's key is not in spec.auth.knownHosts"),
        (_other_key, "Permission denied (publickey): the remote refuses spec.auth"),
        (_open_key, "may be read by others: chmod 600"),
        (_no_key, "must hold a private key without passphrase"),
        (_gone_key, "GitSource/team spec.auth.sshKey: cannot read"),
    ],
    ids=["unknown-host", "changed-host", "other-key", "open-key", "no-key", "gone-key"],
)
async def test_ssh_lets_in_nobody_by_mistake(ssh: SshRemote, follow: Follow, spoil: Any, says: str) -> None:
    """Whatever does not fit is refused, with the next act."""
    spoil(ssh)
    kept = await follow(ssh.url, auth=with_key(ssh), timeout="60s").scan()
    assert kept.deliveries == []
    assert says in kept.rejected[0]


async def test_ssh_takes_names_with_spaces_and_refuses_odd_ones(ssh: SshRemote, follow: Follow) -> None:
    """A name that ssh would read as something else is told before ssh is started."""

    async def tried(name: str) -> Recording:
        folder = ssh.key.parent / name
        folder.mkdir()
        for file in (ssh.key, ssh.known_hosts):
            shutil.copy(file, folder)
        moved = SshRemote(ssh.url, folder / "key", folder / "known_hosts")
        return await follow(ssh.url, auth=with_key(moved), timeout="60s").scan()

    assert (await tried("with space; touch x'")).contents == GOOD
    assert "ssh cannot take" in (await tried("with%h")).rejected[0]


def test_contacts_are_limited_to_one_protocol(follow: Follow) -> None:
    """Whatever a server or a repository says, git speaks nothing but the protocol of the address."""
    team: Following = follow("https://127.0.0.1/team.git")
    with team.source._access.contact() as contact:
        assert contact.protocol == "https"
        assert contact.config["protocol.https.allow"] == "always"
