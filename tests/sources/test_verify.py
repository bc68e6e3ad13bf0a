"""Signatures by ssh-keygen and gpg: what is read only when it is signed by a key that is trusted."""

import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.sources.conftest import Follow
from tests.sources.remotes import Repository, run

GOOD = {"a.yaml": b"a: 1\n"}
SIGNED = {"a.yaml": b"a: signed\n"}


class Signer:
    """Somebody with a key of each kind.

    Attributes:
        keys: file with the public key, as a source is told of it, by format.
    """

    def __init__(self, folder: Path, name: str, repository: Repository) -> None:
        self.name = name
        self.home = folder / name
        self.home.mkdir(mode=0o700)
        self.repository = repository
        key = self.home / "key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key), folder=self.home)
        signers = self.home / "signers"
        signers.write_text(f"{name}@example.com {key.with_suffix('.pub').read_text()}")
        self.keys = {"ssh": signers, "openpgp": self.home / "keys.asc"}

    def make_gpg_key(self) -> None:
        """Make a key of gpg, whose agent ends with `close`."""
        made = ("--quick-gen-key", "--passphrase", "", f"{self.name}@example.com", "ed25519", "sign", "never")
        self.gpg(*made)
        self.keys["openpgp"].write_text(f"{self.gpg('--armor', '--export')}\n")

    def gpg(self, *arguments: str) -> str:
        """Run gpg with nothing but this key."""
        return run("gpg", "--homedir", str(self.home), "--batch", "--quiet", *arguments, folder=self.home)

    def close(self) -> None:
        """End the agent."""
        run("gpgconf", "--homedir", str(self.home), "--kill", "all", folder=self.home)

    def sign(self, form: str, *command: str) -> None:
        """Run a command of git that signs."""
        key = str(self.home / "key") if form == "ssh" else f"{self.name}@example.com"
        signing = ("git", "-c", f"gpg.format={form}", "-c", f"user.signingKey={key}")
        run(*signing, *command, folder=self.repository.work, variables={"GNUPGHOME": str(self.home)})


@pytest.fixture
def ada(repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Signer:
    """Return somebody who can sign; the folder has a short name, because gpg's agent has a socket in it."""
    return Signer(tmp_path_factory.mktemp("k"), "ada", repository)


@pytest.fixture
def bob(repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Signer:
    """Return somebody else."""
    return Signer(tmp_path_factory.mktemp("k"), "bob", repository)


@pytest.fixture(params=["ssh", "openpgp"])
def form(request: pytest.FixtureRequest, ada: Signer, bob: Signer) -> Generator[str, None, None]:
    """Yield a format of signatures for which both have a key."""
    if shutil.which("gpg") is None:
        pytest.skip("needs gpg: install gnupg")
    for one in (ada, bob):
        one.make_gpg_key()
    yield str(request.param)
    for one in (ada, bob):
        one.close()


def trusting(signer: Signer, form: str, mode: str = "head") -> dict[str, object]:
    """Return what a manifest says to trust somebody."""
    return {"keys": {"valueFrom": {"file": str(signer.keys[form])}}, "mode": mode}


async def test_a_signed_commit_is_followed(
    repository: Repository, remote: str, follow: Follow, ada: Signer, bob: Signer, form: str
) -> None:
    """One that is signed by a trusted key is delivered; one by another key or none is not, and what was good stays."""
    repository.write(SIGNED)
    ada.sign(form, "commit", "--quiet", "--all", "-S", "-m", "signed")
    repository.push()
    team = follow(remote, verify=trusting(ada, form))
    kept = await team.scan()
    assert kept.rejected == []
    assert kept.contents == SIGNED
    repository.write({"a.yaml": b"a: 3\n"})
    bob.sign(form, "commit", "--quiet", "--all", "-S", "-m", "by bob")
    repository.push()
    await team.scan()
    assert "is refused: its signature is not by a trusted key: " in kept.rejected[0]
    assert kept.rejected[0].endswith(": sign it, or add its key to spec.verify.keys")
    repository.publish({"a.yaml": b"a: 4\n"})
    await team.scan()
    assert "is refused: it has no signature that spec.verify.keys could have made: sign it" in kept.rejected[1]
    assert kept.contents == SIGNED


async def test_a_key_of_the_other_format_trusts_nobody(
    repository: Repository, remote: str, follow: Follow, ada: Signer, form: str
) -> None:
    """A commit with the other kind of signature is refused, and so is one that was changed after it was signed."""
    repository.write(SIGNED)
    ada.sign(form, "commit", "--quiet", "--all", "-S", "-m", "signed")
    signed = repository.git("cat-file", "commit", "HEAD")
    forged = repository.git("hash-object", "-t", "commit", "-w", "--stdin", feed=f"{signed} and changed\n".encode())
    repository.push()
    other = trusting(ada, "openpgp" if form == "ssh" else "ssh")
    assert "is refused: " in (await follow(remote, verify=other).scan()).rejected[0]
    repository.push(f"{forged}:refs/heads/main")
    assert "not by a trusted key" in (await follow(remote, verify=trusting(ada, form)).scan()).rejected[0]


async def test_a_signed_tag_is_followed(
    repository: Repository, remote: str, follow: Follow, ada: Signer, bob: Signer, form: str
) -> None:
    """The tag must be signed under its own name; a plain one, another's and a renamed one are refused."""
    head = repository.git("rev-parse", "HEAD")
    ada.sign(form, "tag", "-s", "-m", "one", "v1.0.0", head)
    bob.sign(form, "tag", "-s", "-m", "two", "v1.1.0", head)
    repository.git("tag", "v1.2.0", head)
    repository.git("tag", "-a", "-m", "three", "v1.3.0", head)
    repository.git("update-ref", "refs/tags/v1.4.0", "refs/tags/v1.0.0")
    repository.push("--tags")
    for tag, says in {
        "v1.1.0": "tag v1.1.0 is refused: its signature is not by a trusted key",
        "v1.2.0": "tag v1.2.0 is refused: it is a lightweight tag",
        "v1.3.0": "tag v1.3.0 is refused: it has no signature",
        "v1.4.0": "tag v1.4.0 is refused: what it leads to was signed as tag v1.0.0",
    }.items():
        kept = await follow(remote, ref={"tag": tag}, verify=trusting(ada, form, "tag")).scan()
        assert says in kept.rejected[0]
        assert kept.deliveries == []
    kept = await follow(remote, ref={"semver": "1.0.x"}, verify=trusting(ada, form, "tag")).scan()
    assert kept.contents == GOOD


async def test_keys_are_read_anew(
    repository: Repository, remote: str, follow: Follow, ada: Signer, bob: Signer
) -> None:
    """A key that is no longer trusted counts for the next commit, and keys that cannot be read trust nobody."""
    repository.write(SIGNED)
    ada.sign("ssh", "commit", "--quiet", "--all", "-S", "-m", "signed")
    repository.push()
    team = follow(remote, verify=trusting(ada, "ssh"))
    kept = await team.scan()
    assert kept.contents == SIGNED
    ada.keys["ssh"].write_bytes(bob.keys["ssh"].read_bytes())
    ada.sign("ssh", "commit", "--quiet", "--allow-empty", "-S", "-m", "signed")
    repository.push()
    await team.scan()
    assert "not by a trusted key" in kept.rejected[0]
    ada.keys["ssh"].unlink()
    await team.scan()
    assert "GitSource/team spec.verify.keys: cannot read" in kept.rejected[1]
    ada.keys["ssh"].write_text("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnonsense\n")
    await team.scan()
    assert "gpg cannot read the OpenPGP keys" in kept.rejected[2]
    assert list(team.place.work.iterdir()) == []
