"""Repositories that are made to do harm, mirrors that were damaged, and a daemon that is killed while it fetches."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.sources.conftest import Follow, Following
from tests.sources.remotes import ENVIRONMENT, HttpRemote, Repository, processes

GOOD = {"a.yaml": b"a: 1\n"}


@pytest.fixture
def url(repository: Repository) -> str:
    """Return the address of the repository as a file: what is in it, not the way to it, is the matter here."""
    return f"file://{repository.bare}"


def link(repository: Repository, links: Mapping[str, str]) -> None:
    """Publish symbolic links."""
    publish_as(repository, "120000", links)


def publish_as(repository: Repository, mode: str, files: Mapping[str, str]) -> None:
    """Publish files that never were in the work tree."""
    for path, data in files.items():
        blob = repository.git("hash-object", "-w", "--no-filters", "--stdin", feed=data.encode())
        repository.git("update-index", "--add", "--cacheinfo", f"{mode},{blob},{path}")
    repository.git("commit", "--quiet", "-m", "files")
    repository.push()


@pytest.mark.parametrize(
    "links",
    [
        {"b.yaml": "/etc/passwd"},
        {"b.yaml": "../../../../../../etc/passwd"},
        {"docs/x.md": "../../x.md"},
        {"here": ".", "b.yaml": "here/../../x"},
        {"one": "two", "two": "sub/../..", "b.yaml": "one/x"},
        {"folder": "/etc"},
        {"b.yaml": "../trees"},
    ],
    ids=["absolute", "upwards", "one-up", "by-a-link", "by-two-links", "folder", "beside"],
)
async def test_links_that_leave_are_refused(
    repository: Repository, url: str, follow: Follow, links: Mapping[str, str]
) -> None:
    """Whatever way a link takes, nothing outside is read, and what was good serves on."""
    team = follow(url)
    kept = await team.scan()
    link(repository, links)
    await team.scan()
    assert "the symbolic link leaves the folder of the manifests" in kept.rejected[0]
    assert kept.contents == GOOD
    assert len(list(team.place.trees.iterdir())) == 1


async def test_links_inside_are_followed(repository: Repository, url: str, follow: Follow) -> None:
    """A link to a file or folder of the same path is as good as the file."""
    repository.publish({"shared/x.md": b"x\n"})
    link(repository, {"b.yaml": "a.yaml", "docs": "shared", "deep/c.yaml": "../a.yaml", "loop": "loop"})
    kept = await follow(url).scan()
    assert kept.contents == dict.fromkeys(("a.yaml", "b.yaml", "deep/c.yaml"), b"a: 1\n")
    assert (kept.served[0].root / "docs" / "x.md").read_bytes() == b"x\n"


async def test_a_path_keeps_its_own_links_only(repository: Repository, url: str, follow: Follow) -> None:
    """A link that stays in the repository and leaves the path is refused."""
    repository.publish({"agents/a.yaml": b"a: 1\n"})
    link(repository, {"agents/b.yaml": "../a.yaml"})
    assert "leaves the folder" in (await follow(url, path="agents").scan()).rejected[0]


async def test_submodules_hold_nothing(repository: Repository, url: str, follow: Follow, tmp_path: Path) -> None:
    """They are neither fetched nor asked for, whatever address they name; their folder is empty."""
    trap = tmp_path / "trap"
    modules = f'[submodule "m"]\n path = m\n url = ext::sh -c "touch {trap}"\n update = !touch {trap}\n'
    repository.write({".gitmodules": modules.encode()})
    repository.git("add", "--all")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},m")
    repository.git("commit", "--quiet", "-m", "submodule")
    repository.push()
    kept = await follow(url).scan()
    assert kept.contents == GOOD
    assert list((kept.served[0].root / "m").iterdir()) == []
    assert not trap.exists()


async def test_hooks_and_filters_do_not_run(repository: Repository, url: str, follow: Follow, tmp_path: Path) -> None:
    """Neither those of the remote's folder nor those that a commit brings; the bytes are those of the commit."""
    trap = tmp_path / "trap"
    attributes = "* text eol=crlf ident filter=evil\n*.yaml working-tree-encoding=UTF-16 export-ignore\n"
    files = {
        ".gitattributes": attributes,
        ".gitconfig": f'[filter "evil"]\n smudge = touch {trap}\n',
        "hooks/post-checkout": f"#!/bin/sh\ntouch {trap}\n",
        "b.yaml": "b: $Id$\nc: 1\r\n",
    }
    publish_as(repository, "100755", files)
    hook = repository.bare / "hooks" / "post-upload-pack"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {trap}\n")
    hook.chmod(0o755)
    team = follow(url)
    kept = await team.scan()
    assert kept.rejected == []
    assert kept.contents["b.yaml"] == files["b.yaml"].encode()
    assert not list(team.place.mirrors.glob("*/hooks/*"))
    assert not trap.exists()


async def test_the_protocol_that_runs_commands_is_refused(repository: Repository, follow: Follow) -> None:
    """Nobody can write such an address into a manifest; a redirect to one is refused by the contact's own list."""
    for address in ("ext::sh -c x", "file://x;y", "-oProxyCommand=x", "ssh://-oProxyCommand=x/y", "http://a b/c"):
        with pytest.raises(ValueError, match="expected"):
            follow(address)
    team = follow(f"file://{repository.bare}")
    done = await team.source._mirror._outside.run("ls-remote", "--", f"file://{repository.bare}")
    assert "not allowed" in done.reason


def tree(repository: Repository, *entries: str) -> str:
    """Write a tree as it is said, right or not, and return its hash."""
    raw = b""
    for entry in entries:
        mode, name, path = entry.split(" ", 2)
        raw += f"{mode} {path}\0".encode() + bytes.fromhex(name)
    return repository.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", feed=raw)


def publish_tree(repository: Repository, top: str) -> None:
    """Publish a commit of a tree."""
    made = repository.git("commit-tree", "-m", "tree", top)
    repository.push(f"{made}:refs/heads/main")


def _parent(repository: Repository, blob: str) -> str:
    return tree(repository, f"40000 {tree(repository, f'100644 {blob} x.yaml')} ..")


def _git_folder(repository: Repository, blob: str) -> str:
    return tree(repository, f"40000 {tree(repository, f'100644 {blob} config')} .GIT")


def _slash(repository: Repository, blob: str) -> str:
    return tree(repository, f"100644 {blob} ../x.yaml")


def _twice(repository: Repository, blob: str) -> str:
    return tree(repository, f"100644 {blob} a.yaml", f"100644 {blob} a.yaml")


def _through_a_link(repository: Repository, blob: str) -> str:
    target = repository.git("hash-object", "-w", "--stdin", feed=b"/tmp")
    inner = tree(repository, f"100644 {blob} x.yaml")
    return tree(repository, f"120000 {target} a", f"40000 {inner} a")


def _long(repository: Repository, blob: str) -> str:
    return tree(repository, f"100644 {blob} {'x' * 300}.yaml")


def _bomb(repository: Repository, blob: str) -> str:
    del blob
    top = tree(repository)
    for _ in range(12):
        top = tree(repository, *(f"40000 {top} {name}" for name in "0123456789"))
    return top


def _many(repository: Repository, blob: str) -> str:
    top = tree(repository, *(f"100644 {blob} {number:02}" for number in range(50)))
    return tree(repository, *(f"40000 {top} {name}" for name in "0123456789"))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_parent, 'no file may have the name ".."'),
        (_git_folder, 'no file may have the name ".GIT"'),
        (_slash, 'no file may have the name ".."'),
        (_twice, "two files of the commit have one name"),
        (_through_a_link, "two files of the commit have one name"),
        (_long, "rename it"),
        (_bomb, "spec.limits.files: there are more than 100 folders below spec.path"),
        (_many, "spec.limits.files: there are more than 100 files below spec.path"),
    ],
    ids=["parent", "git-folder", "slash", "twice", "through-a-link", "long-name", "tree-bomb", "many-files"],
)
async def test_trees_that_no_file_system_should_hold_are_refused(
    repository: Repository, url: str, follow: Follow, make: Callable[[Repository, str], str], says: str
) -> None:
    """Nothing of them is written, and what was good serves on."""
    team = follow(url, limits={"files": 100})
    kept = await team.scan()
    publish_tree(repository, make(repository, repository.git("rev-parse", "HEAD:a.yaml")))
    await team.scan()
    assert says in kept.rejected[0]
    assert kept.contents == GOOD
    assert list(team.place.work.iterdir()) == []
    assert len(list(team.place.trees.iterdir())) == 1


async def test_files_that_are_too_large_are_refused(repository: Repository, url: str, follow: Follow) -> None:
    """The sum of their sizes is known before any of them is read."""
    repository.publish({"x.bin": b"x" * 70_000, "y.bin": b"y" * 70_000})
    kept = await follow(url, limits={"size": "128Ki"}).scan()
    assert "spec.limits.size: there are more than 131,072 bytes below spec.path" in kept.rejected[0]
    assert (await follow(url, limits={"size": "200Ki"}).scan()).contents == GOOD


async def test_a_fetch_that_grows_too_large_is_ended(repository: Repository, http: HttpRemote, follow: Follow) -> None:
    """While it is under way, not only afterwards; what was good serves on, and the rest is removed."""
    team = follow(http.url, limits={"fetch": "1Mi"})
    kept = await team.scan()
    repository.publish({"x.bin": random.Random(1).randbytes(4 << 20)})
    http.cut = 2 << 20
    await team.scan()
    assert "spec.limits.fetch: the mirror of" in kept.rejected[0]
    assert processes(http.url) == []
    http.cut = 0
    repository.git("reset", "--quiet", "--hard", "HEAD~1")
    repository.publish({"a.yaml": b"a: 2\n"})
    await team.scan()
    assert kept.contents == {"a.yaml": b"a: 2\n"}


async def test_a_mirror_does_not_grow_for_ever(repository: Repository, url: str, follow: Follow) -> None:
    """What was fetched in many small pieces, or left by force-pushes, is packed anew."""
    team = follow(url, limits={"fetch": "4Mi"})
    for number in range(5):
        repository.git("checkout", "--quiet", "--orphan", f"b{number}")
        repository.publish({"x.bin": random.Random(number).randbytes(1 << 20)})
        await team.scan()
    assert team.kept.rejected == []
    assert len(team.kept.deliveries) == 5


def _no_objects(mirror: Path) -> None:
    for pack in mirror.glob("objects/pack/*.pack"):
        pack.chmod(0o600)
        pack.write_bytes(b"PACK" + b"\0" * 200)


def _no_head(mirror: Path) -> None:
    (mirror / "HEAD").unlink()


def _locked(mirror: Path) -> None:
    for ref in mirror.glob("refs/loomd/*"):
        for one in ref.iterdir():
            (one.parent / f"{one.name}.lock").touch()


def _bad_settings(mirror: Path) -> None:
    (mirror / "config").write_text("[core\n")


@pytest.mark.parametrize(
    "spoil",
    [_no_objects, _no_head, _locked, _bad_settings],
    ids=["no-objects", "no-head", "locked", "bad-settings"],
)
@pytest.mark.parametrize("restarted", [True, False], ids=["restarted", "running"])
async def test_a_damaged_mirror_is_made_anew(
    repository: Repository, url: str, follow: Follow, spoil: Callable[[Path], None], restarted: bool
) -> None:
    """At the latest at the second look it is as good as new, and nothing that serves is lost."""
    team = follow(url)
    await team.scan()
    spoil(next(team.place.mirrors.iterdir()))
    repository.publish({"a.yaml": b"a: 2\n"})
    after = follow(url) if restarted else team
    for _ in range(2):
        await after.scan()
    assert after.kept.contents == {"a.yaml": b"a: 2\n"}


CHILD = """
import asyncio, json, sys
from pathlib import Path
from tests.sources.conftest import Following
state, url = json.loads(sys.argv[1])
asyncio.run(Following(Path(state), url).scan())
"""


async def test_a_fetch_that_is_killed_leaves_nothing_in_the_way(
    repository: Repository, http: HttpRemote, follow: Follow, tmp_path: Path
) -> None:
    """After kill -9 in the middle of a pack the next daemon fetches what is missing and removes what was left."""
    repository.publish({"x.bin": random.Random(1).randbytes(1 << 20)})
    http.cut = 300_000
    command = [sys.executable, "-c", CHILD, json.dumps([str(tmp_path / "state"), http.url])]
    child = subprocess.Popen(command, env=os.environ)  # noqa: ASYNC220, S603  # our own command
    mirrors = follow(http.url).place.mirrors
    while not list(mirrors.rglob("tmp_pack_*")):
        assert child.poll() is None
        await asyncio.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    http.cut = 0
    team: Following = follow(http.url)
    kept = await team.scan()
    assert kept.contents == GOOD
    assert not list(mirrors.rglob("tmp_*"))


async def test_without_git_that_is_told(url: str, follow: Follow, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon on a machine without git says what to install."""
    monkeypatch.setenv("PATH", "/nonexistent")
    kept = await follow(url).scan()
    assert kept.rejected == ["git is not installed: install it, or mend PATH"]
    assert ENVIRONMENT["PATH"] != "/nonexistent"


async def test_a_state_directory_that_vanishes_is_told(url: str, follow: Follow) -> None:
    """It is reported as any other failure, and made anew."""
    team = follow(url)
    kept = await team.scan()
    team.place.folder.rename(team.place.folder.with_name("gone"))
    kept.served = ()
    await team.scan()
    assert len(kept.rejected) == 1
    team.place.enter(prune=True)
    await team.scan()
    assert kept.contents == GOOD


async def test_an_old_git_is_refused(url: str, follow: Follow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that would not heed the settings that keep it in bounds is not asked anything else."""
    old = tmp_path / "bin" / "git"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho git version 2.30.2\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}:{ENVIRONMENT['PATH']}")
    kept = await follow(url).scan()
    assert kept.rejected == ["GitSource/team: git 2.34 or newer is needed, got 'git version 2.30.2': update it"]
