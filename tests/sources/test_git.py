"""Following a repository at a real `git daemon`: what is delivered when, and what keeps the last good one."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from loomd.events.event import SourceForced
from loomd.manifest.delivery import Delivery
from tests.ports import free_port
from tests.sources.conftest import Follow
from tests.sources.remotes import Repository, git_daemon

GOOD = {"a.yaml": b"a: 1\n"}


async def test_a_branch_is_followed(repository: Repository, remote: str, follow: Follow) -> None:
    """The first look clones, a new commit is delivered, an unchanged one is not; the revision names the commit."""
    first = repository.git("rev-parse", "HEAD")
    team = follow(remote)
    kept = await team.scan()
    assert kept.rejected == []
    assert kept.contents == GOOD
    second = repository.publish({"a.yaml": b"a: 2\n", "sub/b.yaml": b"b: 1\n", "docs/x.md": b"x\n"})
    await team.scan()
    await team.scan()
    assert kept.contents == {"a.yaml": b"a: 2\n", "sub/b.yaml": b"b: 1\n"}
    assert team.revisions == [f"main@sha1:{first}", f"main@sha1:{second}"]
    delivery = kept.deliveries[-1]
    assert (delivery.source, delivery.type, delivery.prune) == ("git/default/team", "git", True)
    assert {file.base for file in delivery.files} == {"git/default/team"}
    assert (delivery.files[0].root / "docs" / "x.md").read_bytes() == b"x\n"
    assert team.events == []


async def test_a_branch_that_was_rewritten_is_followed(repository: Repository, remote: str, follow: Follow) -> None:
    """A force-push is delivered like any commit, and an event says from where to where; also after a restart."""
    repository.publish({"a.yaml": b"a: 2\n"})
    before = repository.git("rev-parse", "HEAD")
    await follow(remote).scan()
    repository.git("reset", "--quiet", "--hard", "HEAD~1")
    after = repository.publish({"a.yaml": b"a: 3\n"})
    again = follow(remote)
    kept = await again.scan()
    assert kept.contents == {"a.yaml": b"a: 3\n"}
    assert again.events == [SourceForced("git/default/team", "refs/heads/main", before, after)]
    repository.publish({"a.yaml": b"a: 4\n"})
    await again.scan()
    assert len(again.events) == 1


async def test_a_tag_is_followed_where_it_moves(repository: Repository, remote: str, follow: Follow) -> None:
    """A tag that was moved is delivered anew, with an event; an annotated one leads to its commit."""
    repository.git("tag", "v1")
    repository.push("v1")
    first = repository.git("rev-parse", "HEAD")
    team = follow(remote, ref={"tag": "v1"})
    await team.scan()
    second = repository.publish({"a.yaml": b"a: 2\n"})
    await team.scan()
    assert team.revisions == [f"v1@sha1:{first}"]
    repository.git("tag", "--force", "--annotate", "-m", "one", "v1")
    repository.push("v1")
    kept = await team.scan()
    assert team.revisions[1:] == [f"v1@sha1:{second}"]
    assert kept.contents == {"a.yaml": b"a: 2\n"}
    assert [event.ref for event in team.events] == ["refs/tags/v1"]


async def test_the_highest_version_in_a_range_is_followed(repository: Repository, remote: str, follow: Follow) -> None:
    """A range takes the highest release that fits, whatever was tagged last; what fits nothing names what there is."""
    for tag in ("v1.10.0", "v1.9.0", "v2.0.0", "v1.11.0-rc.1", "latest"):
        repository.publish({"a.yaml": f"a: {tag}\n".encode()})
        repository.git("tag", tag)
        repository.push(tag)
    team = follow(remote, ref={"semver": ">=1.2 <2"})
    kept = await team.scan()
    assert kept.contents == {"a.yaml": b"a: v1.10.0\n"}
    repository.publish({"a.yaml": b"a: new\n"})
    repository.git("tag", "v1.10.1")
    repository.push("v1.10.1")
    await team.scan()
    assert kept.contents == {"a.yaml": b"a: new\n"}
    assert [one.partition("@")[0] for one in team.revisions] == ["v1.10.0", "v1.10.1"]
    assert team.events == []
    none = await follow(remote, ref={"semver": "^3"}).scan()
    assert "GitSource/team spec.ref.semver: no tag of" in none.rejected[0]
    assert 'fits "^3": there are v2.0.0, v1.9.0' in none.rejected[0]


async def test_a_commit_stays_what_it_is(repository: Repository, follow: Follow) -> None:
    """A single commit is delivered whatever the branch does, and once it is there the remote is not needed."""
    first = repository.git("rev-parse", "HEAD")
    repository.publish({"a.yaml": b"a: 2\n"})
    with git_daemon(repository.served) as url:
        await follow(url, ref={"commit": first}).scan()
    again = follow(url, ref={"commit": first})
    await again.scan()
    assert again.revisions == [f"sha1:{first}"]
    assert again.kept.contents == GOOD


async def test_a_commit_that_is_not_there_is_refused(remote: str, follow: Follow) -> None:
    """No branch and no tag leads to it."""
    kept = await follow(remote, ref={"commit": "0" * 39 + "1"}).scan()
    assert "GitSource/team" in kept.rejected[0]
    assert "no branch and no tag of" in kept.rejected[0]


async def test_a_repository_with_longer_hashes_is_followed(tmp_path: Path, follow: Follow) -> None:
    """SHA-256 repositories are as good as others."""
    repository = Repository(tmp_path / "sha256", "sha256")
    made = repository.publish(dict(GOOD))
    with git_daemon(repository.served) as url:
        for ref in ({"branch": "main"}, {"commit": made}):
            kept = await follow(url, ref=ref).scan()
            assert kept.contents == GOOD
            assert kept.deliveries[0].revision.endswith(f"sha256:{made}")


async def test_only_the_path_is_delivered(repository: Repository, remote: str, follow: Follow) -> None:
    """Manifests outside of it are none, and files outside of it are not there for those inside."""
    repository.publish({"agents/live/b.yaml": b"b: 1\n", "agents/live/docs/x.md": b"x", "other/c.yaml": b"c: 1\n"})
    kept = await follow(remote, path="agents/live").scan()
    assert kept.contents == {"b.yaml": b"b: 1\n"}
    root = kept.served[0].root
    assert sorted(path.relative_to(root).as_posix() for path in root.rglob("*")) == ["b.yaml", "docs", "docs/x.md"]


async def test_commits_beside_the_path_change_nothing(repository: Repository, remote: str, follow: Follow) -> None:
    """They are revisions of their own with the same root, so that nothing is opened anew for them."""
    repository.publish({"agents/b.yaml": b"b: 1\n"})
    team = follow(remote, path="agents")
    await team.scan()
    repository.publish({"README.md": b"new"})
    await team.scan()
    assert len(set(team.revisions)) == 2
    assert team.kept.deliveries[0].files == team.kept.deliveries[1].files


async def test_roots_that_nothing_uses_are_removed(repository: Repository, remote: str, follow: Follow) -> None:
    """The tree that serves stays, those before it go; what a process left half made goes too."""
    team = follow(remote)
    for number in range(3):
        repository.publish({"a.yaml": f"a: {number}\n".encode()})
        await team.scan()
    left = team.place.work / "half"
    left.mkdir()
    assert list(team.place.trees.iterdir()) == [team.kept.served[0].root]
    team.place.enter(prune=True)
    assert not left.exists()


def _delete_branch(repository: Repository) -> None:
    repository.git("branch", "mainline")
    repository.push("mainline", ":main")


def _empty(repository: Repository) -> None:
    repository.push(":main")


def _other_path(repository: Repository) -> None:
    repository.git("mv", "agents", "agent")
    repository.publish()


def _file(repository: Repository) -> None:
    repository.git("rm", "-r", "--quiet", "agents")
    repository.publish({"agents": b"a: 1\n"})


def _no_repository(repository: Repository) -> None:
    repository.bare.rename(repository.bare.with_name("moved.git"))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_delete_branch, 'spec.ref.branch: {url} has no branch "main": did you mean "mainline"?'),
        (_empty, '{url} has no branch "main": it has no branch at all'),
        (_other_path, 'has no folder "agents": mend the path'),
        (_file, '"agents" is a file, not a folder'),
        (_no_repository, "no such repository"),
    ],
    ids=["deleted-branch", "empty-repository", "no-such-path", "a-file", "no-repository"],
)
async def test_what_vanished_deletes_nothing(
    repository: Repository, remote: str, follow: Follow, spoil: Callable[[Repository], None], says: str
) -> None:
    """It is told once, what was good serves on, and once it is back it is delivered again."""
    repository.publish({"agents/a.yaml": b"a: 1\n"})
    good = repository.git("rev-parse", "HEAD")
    team = follow(remote, path="agents")
    kept = await team.scan()
    spoil(repository)
    await team.scan()
    await team.scan()
    assert kept.contents == GOOD
    assert len(kept.rejected) == 1
    assert says.format(url=remote) in kept.rejected[0]
    if not repository.bare.exists():
        repository.bare.with_name("moved.git").rename(repository.bare)
    repository.push(f"{good}:refs/heads/main")
    await team.scan()
    assert team.revisions == [f"main@sha1:{good}"] * 2


async def test_a_repository_may_be_allowed_to_become_empty(repository: Repository, remote: str, follow: Follow) -> None:
    """Git keeps no empty folder, so a path that is gone counts as empty then."""
    repository.publish({"agents/a.yaml": b"a: 1\n"})
    team = follow(remote, path="agents", allowEmpty=True)
    await team.scan()
    repository.git("rm", "-r", "--quiet", "agents")
    repository.publish()
    kept = await team.scan()
    assert kept.contents == {}
    assert kept.deliveries[-1].allow_empty


async def test_the_last_good_one_serves_while_the_remote_is_down(repository: Repository, follow: Follow) -> None:
    """It is told once, asked again and again, and what came meanwhile is delivered as soon as it is back."""
    port = free_port()
    team = follow(f"git://127.0.0.1:{port}/team.git", interval="30ms", retry={"first": "10ms", "longest": "40ms"})
    with git_daemon(repository.served, port):
        async with team.running() as kept:
            await kept.serves(GOOD)
    async with team.running() as kept:
        await kept.until(lambda kept: len(kept.rejected) == 1)
        looks = kept.looks
        await kept.until(lambda kept: kept.looks >= looks + 3)
        assert kept.contents == GOOD
        assert len(kept.rejected) == 1
        assert "errno=Connection refused" in kept.rejected[0]
        repository.publish({"a.yaml": b"a: 2\n"})
        with git_daemon(repository.served, port):
            await kept.serves({"a.yaml": b"a: 2\n"})
            assert team.source._failures == 0


def test_waits_double_up_to_the_longest(follow: Follow) -> None:
    """After failures each wait is about twice the one before; otherwise it is about the interval."""
    source = follow("git://127.0.0.1/x.git", interval="100s", retry={"first": "1s", "longest": "8s"}).source
    assert 90 <= source._wait() <= 110
    for failures, wait in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (5000, 8)]:
        source._failures = failures
        waits = [source._wait() for _ in range(50)]
        assert 0.75 * wait <= min(waits) < max(waits) <= 1.25 * wait


async def test_a_poke_looks_at_once(repository: Repository, remote: str, follow: Follow) -> None:
    """It does not wait for the interval, and delivers also what seems to be unchanged."""
    team = follow(remote, interval="1h")
    async with team.running() as kept:
        await kept.serves(GOOD)
        repository.publish({"a.yaml": b"a: 2\n"})
        team.source.poke()
        await kept.serves({"a.yaml": b"a: 2\n"})
        team.source.poke()
        await kept.until(lambda kept: len(kept.deliveries) == 3)


async def test_a_poke_during_an_opening_is_answered_by_a_delivery_of_its_own(
    repository: Repository, remote: str, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The opening began before it: what comes of that says nothing to whoever poked."""
    del repository
    team = follow(remote, interval="1h")
    go, serve = asyncio.Event(), team.kept.apply

    async def apply(delivery: Delivery) -> None:
        await serve(delivery)
        await go.wait()

    monkeypatch.setattr(team.kept, "apply", apply)
    async with team.running() as kept:
        await kept.until(lambda kept: len(kept.deliveries) == 1)
        looks = kept.looks
        team.source.poke()
        await kept.until(lambda kept: kept.looks > looks)
        go.set()
        await kept.until(lambda kept: len(kept.deliveries) == 2)
    assert [one.look for one in kept.deliveries] == [0, 1]


@pytest.mark.parametrize("by", ["spec", "person"])
async def test_a_suspended_source_asks_nobody(follow: Follow, by: str, repository: Repository) -> None:
    """Neither its own manifest nor a person lets it look at the remote; resumed, it delivers what there is then."""
    team = follow(f"file://{repository.bare}", suspend=by == "spec")
    team.kept.stopped_until = "" if by == "person" else None
    kept = await team.scan()
    assert kept.deliveries == []
    assert list(team.place.mirrors.iterdir()) == []
    if by == "person":
        kept.stopped_until = None
        await team.scan()
        assert kept.contents == GOOD


async def test_a_newer_commit_ends_the_suspension_of_an_undo(
    repository: Repository, remote: str, follow: Follow
) -> None:
    """What was undone is not delivered again; another commit is."""
    team = follow(remote)
    kept = await team.scan()
    kept.stopped_until, kept.served = team.revisions[0], ()
    await team.scan()
    assert len(kept.deliveries) == 1
    repository.publish({"a.yaml": b"a: 2\n"})
    await team.scan()
    assert kept.contents == {"a.yaml": b"a: 2\n"}


async def test_an_invalid_commit_keeps_what_was_good(repository: Repository, remote: str, follow: Follow) -> None:
    """It is delivered once, refused, and not tried again before there is another one."""
    team = follow(remote)
    kept = await team.scan()
    repository.publish({"a.yaml": b"broken\n"})
    await team.scan()
    await team.scan()
    assert kept.contents == GOOD
    assert kept.rejected == ["a.yaml: broken [broken]"]
    assert len(team.revisions) == 2
    repository.publish({"a.yaml": b"a: 3\n"})
    await team.scan()
    assert kept.contents == {"a.yaml": b"a: 3\n"}


async def test_what_somebody_else_changed_is_delivered_again(remote: str, follow: Follow) -> None:
    """When other files of the source serve than it delivered, it delivers its own."""
    team = follow(remote)
    kept = await team.scan()
    kept.served = ()
    await team.scan()
    assert kept.contents == GOOD


async def test_terms_are_those_of_the_manifest(remote: str, follow: Follow) -> None:
    """Pruning and emptiness are what the object says."""
    kept = await follow(remote, prune=False, allowEmpty=True).scan()
    assert [(one.prune, one.allow_empty) for one in kept.deliveries] == [(False, True)]
