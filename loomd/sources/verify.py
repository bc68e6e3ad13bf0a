"""Tells whether a commit, or the tag that names it, is signed by one of the keys that a git source trusts.

The keys decide how: allowed signers as OpenSSH has them, or armored OpenPGP keys. Nothing of the daemon's user takes
part, neither a keyring nor an agent. Called by the git source before anything of a commit is read.
"""

import tempfile
from pathlib import Path

from loomd.errors import Permanent, Temporary
from loomd.git.command import Contact, Git
from loomd.git.mirror import Revision
from loomd.sources.spec import GitVerify

_PGP = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
_GPG_SETTINGS = "trust-model always\nno-auto-key-retrieve\nno-auto-key-locate\n"
"""All keys that were named are trusted; none is looked for elsewhere."""


async def verify(owner: str, git: Git, revision: Revision, wanted: GitVerify, keys: str, work: Path) -> None:
    """Refuse a revision without a good signature.

    Args:
        owner: the object, `GitSource/team`, for messages.
        git: runs git in the mirror.
        revision: what is to be followed.
        wanted: what must be signed.
        keys: the public keys that are trusted.
        work: folder for the keys while git reads them.

    Raises:
        Permanent: the signature is missing or not by a trusted key, or the keys cannot be used.
        Temporary: the folder cannot be written.
    """
    if wanted.mode == "tag":
        await _refuse_plain_tag(owner, git, revision)
        command, subject, name = "verify-tag", f"tag {revision.pointer.label}", revision.pointer.target
    else:
        command, subject, name = "verify-commit", f"commit {revision.commit}", revision.commit
    try:
        with tempfile.TemporaryDirectory(dir=work) as folder:
            contact = await _trusting(owner, git, Path(folder), keys)
            done = await git.run(command, "--raw", name, contact=contact)
    except OSError as error:
        raise Temporary(f"{owner}: {work}: {error.strerror}: mend the state directory") from error
    if done.code:
        told = "; ".join(done.err[-2:])
        found = f"its signature is not by a trusted key: {told}"
        if not told or "no signature found" in told:
            found = "it has no signature that spec.verify.keys could have made"
        raise Permanent(
            f"{owner} spec.verify: {subject} is refused: {found}: sign it, or add its key to spec.verify.keys"
        )


async def _refuse_plain_tag(owner: str, git: Git, revision: Revision) -> None:
    """Refuse a tag that is no object of its own, or one that was made under another name."""
    pointer = revision.pointer
    subject = f"{owner} spec.verify: tag {pointer.label} is refused"
    if await git.ask("cat-file", "-t", pointer.target) != "tag":
        raise Permanent(f"{subject}: it is a lightweight tag, which cannot be signed: git tag -s makes one that can")
    head = (await git.ask("cat-file", "tag", pointer.target)).partition("\n\n")[0].splitlines()
    named = [line.removeprefix("tag ") for line in head if line.startswith("tag ")]
    if named != [pointer.label]:
        raise Permanent(f"{subject}: what it leads to was signed as tag {', '.join(named) or '(none)'}: sign it anew")


async def _trusting(owner: str, git: Git, folder: Path, keys: str) -> Contact:
    """Return what lets git trust some keys and no others, written into a folder."""
    if _PGP not in keys:
        signers = folder / "signers"
        signers.write_text(f"{keys}\n", encoding="utf-8")
        return Contact(
            config={
                "gpg.ssh.allowedSignersFile": str(signers),
                "gpg.minTrustLevel": "fully",
                "gpg.program": "false",
            }
        )
    home = folder / "gnupg"
    home.mkdir(mode=0o700)
    (home / "gpg.conf").write_text(_GPG_SETTINGS, encoding="ascii")
    public = folder / "keys.asc"
    public.write_text(f"{keys}\n", encoding="utf-8")
    await _import(owner, git, home, public)
    none = folder / "none"
    none.touch()
    return Contact(
        config={"gpg.minTrustLevel": "fully", "gpg.ssh.allowedSignersFile": str(none)},
        variables={"GNUPGHOME": str(home)},
    )


async def _import(owner: str, git: Git, home: Path, public: Path) -> None:
    options = ("--batch", "--no-autostart", "--quiet", "--status-fd", "2", "--homedir", str(home))
    done = await git.run(*options, "--import", "--", str(public), program="gpg")
    if not any("IMPORT_OK" in line for line in done.err):  # it also fails for want of an agent, which nothing needs
        reason = done.err[0] if done.err else f"it ended with code {done.code}"
        raise Permanent(f"{owner} spec.verify.keys: gpg cannot read the OpenPGP keys: {reason}: export them anew")
