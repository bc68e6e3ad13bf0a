"""A bare mirror of what one git source follows: one branch, tag or commit with its history, never a work tree.

It remembers by refs of its own what was fetched and what was followed last, so that a branch that was rewritten is
noticed, also after a restart. A mirror that is damaged, or that a killed process left behind, is mended or made anew.
Called by the git source; everything else that is known of a commit is read by `tree` and `verify`.
"""

import asyncio
import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass

from loomd.errors import Damaged, NotFound, Permanent, Temporary
from loomd.git.access import Access
from loomd.git.command import Done, Git
from loomd.git.fault import explain, is_refused_commit
from loomd.git.place import Place
from loomd.git.remote import GitRef, Remote
from loomd.git.semver import highest
from loomd.git.sweep import size_of, sweep, sweep_packs
from loomd.manifest.wording import did_you_mean, listed, quoted

OLDEST = (2, 34)
"""The first git that takes all its settings from the environment and checks signatures of ssh."""
PACKS = 20
"""Packs after which the mirror is repacked; every fetch that brings something makes one."""

_OWN = "refs/loomd"
_ALL = f"{_OWN}/all"
_LOOK = 0.1
"""Seconds between looks at the size of the mirror while something is fetched."""
_FETCH = (
    *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance"),
    *("--no-show-forced-updates", "--refmap="),
)


@dataclass(frozen=True)
class Pointer:
    """What the remote says that a ref is.

    Attributes:
        label: what people call it, `main` or `v1.2.0`; empty for a single commit.
        ref: its whole name; empty for a single commit.
        target: hash of a commit or of a tag.
    """

    label: str
    ref: str
    target: str


@dataclass(frozen=True)
class Revision:
    """A commit that is in the mirror, and the pointer that led to it."""

    pointer: Pointer
    commit: str

    @property
    def name(self) -> str:
        """Return what the source calls it: `main@sha1:4f3c...`, `sha1:4f3c...` for a single commit."""
        digest = f"{'sha256' if len(self.commit) == 64 else 'sha1'}:{self.commit}"
        return f"{self.pointer.label}@{digest}" if self.pointer.label else digest


class Mirror:
    """The mirror of one source.

    Args:
        owner: the object, `GitSource/team`, for messages.
        spec: what it declares.
        access: opens contacts.
        place: its folder.
    """

    def __init__(self, owner: str, spec: Remote, access: Access, place: Place) -> None:
        self._owner = owner
        self._spec = spec
        self._access = access
        self._place = place
        self._outside = Git(place.folder, bare=False)
        self._git: Git | None = None
        self._is_new = False

    @property
    def git(self) -> Git:
        """Return what runs git in the mirror, once it was prepared."""
        if self._git is None:
            raise Damaged(f"{self._owner}: there is no mirror yet: it is made first")
        return self._git

    # What asks the remote

    async def find(self) -> Pointer:
        """Return what the remote says that the wanted ref is; a single commit is what it is.

        Raises:
            NotFound: the remote has no such repository, branch or tag, or no tag that fits.
            LoomdError: the remote cannot be reached or refuses.
        """
        await self._require_git()
        ref = self._spec.ref
        if ref.commit is not None:
            return Pointer("", "", ref.commit)
        if ref.semver is not None:
            tags = await self._list("refs/tags/*")
            label = highest((name.removeprefix("refs/tags/") for name in tags), ref.semver) or ""
        else:
            label = ref.branch or ref.tag or ""
            tags = await self._list(_full(ref, label))
        full = _full(ref, label)
        if full not in tags:
            raise await self._no_ref(tags)
        return Pointer(label, full, tags[full])

    async def prepare(self, pointer: Pointer) -> None:
        """Make room for what a pointer leads to, unless it is there; no remote is asked, and it may take a while.

        Raises:
            Damaged: the mirror cannot be used.
        """
        git = await self._open(pointer.target)
        if await _resolve(git, self._ref("fetched", pointer)) != pointer.target:
            await self._make_room(git)

    async def fetch(self, pointer: Pointer) -> Revision:
        """Return the commit that a pointer leads to, fetched unless it is there, into a mirror that is prepared.

        Raises:
            NotFound: the remote does not have it any more.
            Permanent: the repository is larger than it may be, or the pointer leads to no commit.
            Damaged: the mirror cannot be used.
            LoomdError: the remote cannot be reached or refuses.
        """
        git, fetched = self.git, self._ref("fetched", pointer)
        if await _resolve(git, fetched) != pointer.target:
            await self._bring(git, pointer, fetched)
        target = await _resolve(git, fetched)
        commit = await _resolve(git, f"{fetched}^{{commit}}")
        if not target or not commit:
            raise Permanent(f"{self._owner} spec.ref: {pointer.label or pointer.target} is not a commit")
        return Revision(Pointer(pointer.label, pointer.ref, target), commit)

    # What was followed

    async def moved(self, revision: Revision) -> str:
        """Return the hash that a branch or tag had before, when it does not lead from there to where it is now."""
        pointer = revision.pointer
        before = await _resolve(self.git, self._ref("followed", pointer)) if pointer.ref else ""
        if before in {"", pointer.target}:
            return ""
        if pointer.ref.startswith("refs/heads/"):
            done = await self.git.run("merge-base", "--is-ancestor", before, pointer.target)
            return "" if done.code == 0 else before
        return before

    async def follow(self, revision: Revision) -> None:
        """Remember a revision as the one that was followed last."""
        pointer = revision.pointer
        await self.git.ask("update-ref", self._ref("followed", pointer), pointer.target)

    # The mirror itself

    async def discard(self) -> None:
        """Remove the mirror; it is made anew by the next fetch."""
        self._git = None
        await asyncio.to_thread(shutil.rmtree, self._place.mirrors, ignore_errors=True)

    async def _require_git(self) -> None:
        """Refuse a git that does not know all of the settings that keep it in bounds."""
        if self._is_new:
            return
        told = (await self._outside.run("version")).text
        numbers = tuple(int(part) for part in re.findall(r"[0-9]+", told)[:2])
        if numbers < OLDEST:
            raise Permanent(
                f"{self._owner}: git {'.'.join(map(str, OLDEST))} or newer is needed, got {told!r}: update it"
            )
        self._is_new = True

    async def _list(self, *patterns: str) -> dict[str, str]:
        """Return the refs of the remote that fit patterns, by their whole names, with their hashes."""
        with self._access.contact() as contact:
            done = await self._outside.run("ls-remote", "--quiet", "--", self._spec.url, *patterns, contact=contact)
        if done.code:
            raise explain(self._owner, self._spec.url, self._masked(done))
        pairs = (line.split("\t", 1) for line in os.fsdecode(done.out).splitlines() if "\t" in line)
        return {name: target for target, name in pairs if not name.endswith("^{}")}

    async def _no_ref(self, tags: Iterable[str]) -> NotFound:
        """Return the error that what is wanted is not there; it names what is."""
        ref, url = self._spec.ref, self._spec.url
        if ref.semver is not None:
            there = [name.removeprefix("refs/tags/") for name in tags]
            hint = f"there are {listed(there[::-1])}" if there else "there are no tags"
            return NotFound(f"{self._owner} spec.ref.semver: no tag of {url} fits {quoted(ref.semver)}: {hint}")
        what, below = ("branch", "refs/heads/") if ref.branch is not None else ("tag", "refs/tags/")
        wanted = ref.branch or ref.tag or ""
        there = [name.removeprefix(below) for name in await self._list(f"{below}*")]
        hint = did_you_mean(wanted, there, "there are") or f"it has no {what} at all"
        return NotFound(f"{self._owner} spec.ref.{what}: {url} has no {what} {quoted(wanted)}: {hint}")

    async def _bring(self, git: Git, pointer: Pointer, fetched: str) -> None:
        done = await self._contact(git, f"+{pointer.ref or pointer.target}:{fetched}")
        if done.code and not pointer.ref and is_refused_commit(done):
            done = await self._contact(git, f"+refs/heads/*:{_ALL}/heads/*", f"+refs/tags/*:{_ALL}/tags/*")
            if done.code == 0:
                await self._keep_only(git, pointer.target, fetched)
        if done.code:
            raise explain(self._owner, self._spec.url, done)

    async def _keep_only(self, git: Git, commit: str, fetched: str) -> None:
        """Keep one commit of all that was fetched because the remote hands out no single one."""
        found = await _resolve(git, f"{commit}^{{commit}}")
        if found:
            await git.ask("update-ref", fetched, found)
        for ref in (await git.ask("for-each-ref", "--format=%(refname)", _ALL)).splitlines():
            await git.ask("update-ref", "-d", ref)
        if not found:
            raise NotFound(
                f"{self._owner} spec.ref.commit: no branch and no tag of {self._spec.url} leads to {commit}: push one"
            )

    async def _contact(self, git: Git, *refspecs: str) -> Done:
        """Fetch; when the mirror grows larger than it may, end that.

        Raises:
            Permanent: it did.
        """
        limit = self._spec.limits.fetch
        with self._access.contact() as contact:
            fetching = asyncio.ensure_future(git.run(*_FETCH, "--", self._spec.url, *refspecs, contact=contact))
            try:
                while not (await asyncio.wait([fetching], timeout=_LOOK))[0]:
                    await self._refuse_large(git, limit)
            finally:
                if not fetching.done():
                    fetching.cancel()
                    await asyncio.wait([fetching])
        await self._refuse_large(git, limit)
        return self._masked(fetching.result())

    async def _refuse_large(self, git: Git, limit: int) -> None:
        size = await asyncio.to_thread(size_of, git.folder)
        if size > limit:
            raise Permanent(
                f"{self._owner} spec.limits.fetch: the mirror of {self._spec.url} is larger than {limit:,} bytes: "
                "raise the limit, or follow a smaller repository"
            )

    async def _open(self, target: str) -> Git:
        """Return the mirror of the remote, made when there is none and swept when a process may have died in it."""
        if self._git is not None:
            return self._git
        form = "sha256" if len(target) == 64 else "sha1"
        name = f"{hashlib.sha256(self._spec.url.encode()).hexdigest()[:12]}-{form}"
        folder = self._place.mirrors / name
        await asyncio.to_thread(sweep, self._place.mirrors, name)
        if not folder.exists():
            done = await self._outside.run(
                "init", "--quiet", "--bare", "--template=", f"--object-format={form}", "--", str(folder)
            )
            if done.code:
                raise Temporary(f"{self._owner}: the mirror cannot be made: {done.reason}")
        self._git = Git(folder)
        return self._git

    async def _make_room(self, git: Git) -> None:
        """Repack a mirror that became long or large, without what nothing leads to any more."""
        await asyncio.to_thread(sweep_packs, git.folder)
        packs = len(list((git.folder / "objects" / "pack").glob("*.pack")))
        large = await asyncio.to_thread(size_of, git.folder) > self._spec.limits.fetch / 2
        if packs > PACKS or (large and packs > 1):
            await git.ask("gc", "--quiet", "--prune=now")

    def _ref(self, what: str, pointer: Pointer) -> str:
        """Return the ref of our own that stands for a ref of the remote, or for a single commit."""
        named = hashlib.sha256((pointer.ref or pointer.target).encode()).hexdigest()[:16]
        return f"{_OWN}/{what}/{named}"

    def _masked(self, done: Done) -> Done:
        return Done(done.code, done.out, tuple(map(self._access.mask, done.err)))


def _full(ref: GitRef, label: str) -> str:
    return f"refs/heads/{label}" if ref.branch is not None else f"refs/tags/{label}"


async def _resolve(git: Git, name: str) -> str:
    """Return the hash that a name stands for, or an empty text when it stands for nothing."""
    done = await git.run("rev-parse", "--verify", "--quiet", name)
    if done.code not in {0, 1}:
        raise Damaged(f"{git.folder} is damaged: {done.reason}: it is fetched anew")
    return done.text
