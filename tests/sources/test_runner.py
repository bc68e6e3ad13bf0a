"""Git sources as objects: they come, change and go with what serves, and so does what they declare."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from loomd.errors import Conflict, NotFound
from loomd.events.event import SourceForced
from loomd.manifest.object import Ref
from loomd.sources import runner
from loomd.sources.directory import DirectorySource
from loomd.sources.git import GitSource
from loomd.sources.runner import Sources
from loomd.topology import Services
from tests.clocks import skip
from tests.reconcile.gate import gated
from tests.sources.remotes import Repository
from tests.sources.serving import Serving, git_source, provider, serving


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Return a repository that declares the provider `one`."""
    made = Repository(tmp_path / "a")
    made.publish({"one.yaml": provider("one").encode()})
    return made


@pytest.fixture
def url(repository: Repository) -> str:
    """Return its address."""
    return f"file://{repository.bare}"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return the state directory."""
    return tmp_path / "state"


def revision(repository: Repository) -> str:
    """Return what a source calls the newest commit."""
    return f"main@sha1:{repository.git('rev-parse', 'HEAD')}"


async def test_a_source_is_followed_as_soon_as_it_is_applied(repository: Repository, url: str, state: Path) -> None:
    """What the repository declares serves, a push is followed, and the status says what was tried and what serves."""
    async with serving(state) as now:
        await now.apply(git_source("team", url))
        await now.serves("GitSource/team", "Provider/one")
        known = now.source("team")
        assert known.type == "git"
        assert known.last_attempted_revision == known.last_applied_revision == revision(repository)
        assert known.inventory == ("Provider/default/one",)
        repository.publish({"two.yaml": provider("two").encode()})
        await now.serves("GitSource/team", "Provider/one", "Provider/two")
        repository.publish({"one.yaml": None})
        await now.serves("GitSource/team", "Provider/two")
        assert now.source("team").last_applied_revision == revision(repository)


async def test_an_invalid_commit_is_refused(repository: Repository, url: str, state: Path) -> None:
    """The one before serves on, the status tells both revisions and why; mended, it serves."""
    async with serving(state) as now:
        await now.apply(git_source("team", url))
        await now.serves("GitSource/team", "Provider/one")
        good = revision(repository)
        repository.publish({"one.yaml": provider("one").replace("replies", "replys").encode()})
        await now.until(lambda: now.source("team").last_attempted_revision == revision(repository))
        known = now.source("team")
        assert known.last_applied_revision == good
        assert known.attempts[0].outcome == "refused"
        assert "did you mean" in known.attempts[0].message
        assert {one.type: one.status for one in known.conditions}["Ready"] == "False"
        assert "Provider/one" in now.names
        repository.publish({"one.yaml": provider("one", "no").encode()})
        await now.until(lambda: now.source("team").last_applied_revision == revision(repository))
        assert not now.reconciler.rejected


async def test_a_remote_that_was_down_is_told_and_taken_back(repository: Repository, url: str, state: Path) -> None:
    """While it is down the status says so; once it is back all is well, also when nothing changed."""
    away = repository.bare.with_name("away.git")
    async with serving(state) as now:
        await now.apply(git_source("team", url))
        await now.serves("GitSource/team", "Provider/one")
        repository.bare.rename(away)
        await now.until(lambda: now.reconciler.stale)
        assert now.source("team").attempts[0].outcome == "refused"
        assert "Provider/one" in now.names
        away.rename(repository.bare)
        await now.until(lambda: not now.reconciler.stale)
        assert {one.type: one.status for one in now.source("team").conditions}["Ready"] == "True"


@pytest.mark.parametrize("prune", [True, False], ids=["prune", "keep"])
async def test_a_source_that_is_removed_is_let_go(url: str, state: Path, tmp_path: Path, prune: bool) -> None:
    """What it declared is deleted with it, or stays as if it had been applied by hand; its folder is removed."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "a.yaml").write_text(git_source("team", url, f"prune: {str(prune).lower()}"))
    (folder / "b.yaml").write_text(provider("other"))
    async with serving(state, [folder]) as now:
        await now.serves("GitSource/team", "Provider/one", "Provider/other")
        assert now.folders == ["team"]
        (folder / "a.yaml").unlink()
        await now.serves(*(["Provider/other"] if prune else ["Provider/one", "Provider/other"]))
        await now.until(lambda: now.folders == [])
        with pytest.raises(NotFound, match="no source 'git/default/team' is followed"):
            now.sources.poke("git/default/team")
        if not prune:
            await now.reconciler.delete([Ref("Provider", "one")])
            assert now.names == ["Provider/other"]


async def test_a_source_that_was_removed_while_nothing_ran_is_let_go(url: str, state: Path, tmp_path: Path) -> None:
    """The next start deletes what it declared."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "a.yaml").write_text(git_source("team", url))
    (folder / "b.yaml").write_text(provider("other"))
    async with serving(state, [folder]) as now:
        await now.serves("GitSource/team", "Provider/one", "Provider/other")
    (folder / "a.yaml").unlink()
    async with serving(state, [folder]) as now:
        await now.serves("Provider/other")
        await now.until(lambda: now.folders == [])


async def test_a_restart_serves_the_last_good_set(repository: Repository, url: str, state: Path) -> None:
    """Without the remote, files that manifests name included; what came meanwhile is followed once it is back."""
    skill = "apiVersion: loomd.dev/v1\nkind: Skill\nmetadata: {name: s}\nspec: {file: skills/s.md}\n"
    repository.publish({"skill.yaml": skill.encode(), "skills/s.md": b"---\nname: s\ndescription: x\n---\nDo it.\n"})
    async with serving(state) as now:
        await now.apply(git_source("team", url))
        await now.serves("GitSource/team", "Provider/one", "Skill/s")
    away = repository.bare.with_name("away.git")
    repository.bare.rename(away)
    async with serving(state) as now:
        assert now.names == ["GitSource/team", "Provider/one", "Skill/s"]
        assert Ref("Skill", "s") in now.reconciler.topology.live
        await now.until(lambda: now.reconciler.stale)
        assert now.names == ["GitSource/team", "Provider/one", "Skill/s"]
        away.rename(repository.bare)
        repository.publish({"skills/s.md": b"---\nname: s\ndescription: x\n---\nDo that.\n"})
        await now.until(lambda: now.source("team").last_applied_revision == revision(repository))
        skills = now.reconciler.topology.live[Ref("Skill", "s")]
        assert getattr(skills, "skills")["s"].instructions == "Do that."  # noqa: B009  # whatever the live thing is


async def test_files_stay_for_as_long_as_something_uses_them(repository: Repository, url: str, state: Path) -> None:
    """The roots of stored revisions, and of live things that were not opened anew, are there; others are not."""
    async with serving(state) as now:
        await now.apply(git_source("team", url))
        await now.serves("GitSource/team", "Provider/one")
        for number in range(4):
            repository.publish({"n.yaml": provider("n", str(number)).encode(), "notes.md": str(number).encode()})
            await now.until(lambda: now.source("team").last_applied_revision == revision(repository))
        trees = now.services.store.directory / "sources" / "git" / "default" / "team" / "trees"
        there = set(trees.iterdir())
        assert there == {root for root in await now.reconciler.roots() if root.parent == trees}
        assert len(there) == 5
        repository.publish({"notes.md": b"a file that no manifest names"})
        await now.until(lambda: now.source("team").last_applied_revision == revision(repository))
        one = now.reconciler.topology._things[Ref("Provider", "one")].item.root
        assert one.is_dir()


async def test_a_changed_source_is_begun_again(repository: Repository, url: str, state: Path) -> None:
    """Another branch is followed at once, without an event that speaks of force."""
    repository.git("checkout", "--quiet", "--orphan", "other")
    repository.commit({"one.yaml": None, "two.yaml": provider("two").encode()})
    repository.push("other")
    async with serving(state) as now:
        await now.apply(git_source("team", url))
        await now.serves("GitSource/team", "Provider/one")
        await now.apply(git_source("team", url, "ref: {branch: other}"))
        await now.serves("GitSource/team", "Provider/two")
        await now.apply(git_source("team", url, "ref: {branch: other}", "suspend: true"))
        repository.commit({"three.yaml": provider("three").encode()})
        repository.push("other")
        with pytest.raises(Conflict, match=r"is suspended by spec\.suspend"):
            now.sources.poke("git/default/team")
        await now.apply(git_source("team", url, "ref: {branch: other}"))
        await now.serves("GitSource/team", "Provider/two", "Provider/three")
        assert not [event for event in now.events if isinstance(event.data, SourceForced)]


@pytest.mark.usefixtures("repository")
async def test_a_manifest_that_suspends_a_source_says_so(url: str, state: Path) -> None:
    """The object tells who suspended it, whether it delivered before or never did, and that it is followed again."""
    ref = Ref("GitSource", "team")
    async with serving(state) as now:

        def suspended() -> tuple[str, str]:
            found = {one.type: one for one in now.reconciler.status(ref).conditions}
            return found["Suspended"].status, found["Suspended"].message

        await now.apply(git_source("team", url, "suspend: true"))
        await now.serves("GitSource/team")
        assert suspended() == ("True", "by spec.suspend: nothing is looked at until it is false")
        await now.apply(git_source("team", url))
        await now.serves("GitSource/team", "Provider/one")
        assert suspended() == ("False", "its deliveries are taken")
        await now.apply(git_source("team", url, "suspend: true"))
        await now.until(lambda: suspended()[0] == "True")
        await now.apply(git_source("team", url))
        await now.reconciler.suspend("git/default/team", "holiday")
        assert suspended() == ("True", "holiday")


async def test_a_repository_may_declare_further_ones(
    repository: Repository, url: str, state: Path, tmp_path: Path
) -> None:
    """They are followed like others, and what they declare goes when they do."""
    inner = Repository(tmp_path / "b")
    inner.publish({"two.yaml": provider("two").encode()})
    async with serving(state) as now:
        await now.apply(git_source("team", url))
        repository.publish({"more.yaml": git_source("inner", f"file://{inner.bare}").encode()})
        await now.serves("GitSource/inner", "GitSource/team", "Provider/one", "Provider/two")
        repository.publish({"more.yaml": None})
        await now.serves("GitSource/team", "Provider/one")
        await now.until(lambda: now.folders == ["team"])


async def test_a_repository_that_declares_its_own_source_is_refused(
    repository: Repository, url: str, state: Path
) -> None:
    """The one who declared it first keeps it; without that the commit is followed."""
    async with serving(state) as now:
        await now.apply(git_source("team", url))
        await now.serves("GitSource/team", "Provider/one")
        repository.publish(
            {"self.yaml": git_source("team", "file:///elsewhere").encode(), "two.yaml": provider("two").encode()}
        )
        await now.until(lambda: now.reconciler.stale)
        assert "GitSource/team is declared by -" in now.source("team").attempts[0].message
        repository.publish({"self.yaml": None})
        await now.serves("GitSource/team", "Provider/one", "Provider/two")


async def test_sources_that_declare_each_other_can_go(
    repository: Repository, url: str, state: Path, tmp_path: Path
) -> None:
    """A source that deletes the one that declares it, and so itself, ends all of it and wedges nothing."""
    inner = Repository(tmp_path / "b")
    inner.publish({"two.yaml": provider("two").encode()})
    repository.publish({"inner.yaml": git_source("inner", f"file://{inner.bare}").encode()})
    async with serving(state) as now:
        await now.apply(git_source("team", url, "prune: false"), provider("other"))
        await now.serves("GitSource/inner", "GitSource/team", *(f"Provider/{one}" for one in ("one", "other", "two")))
        await now.reconciler.delete([Ref("GitSource", "team")])
        await now.until(lambda: now.folders == ["inner"])
        inner.publish({"team.yaml": git_source("team", url).encode()})
        await now.until(lambda: now.folders == ["inner", "team"] and len(now.names) == 5)
        await now.until(lambda: now.source("team").type == "git")
        repository.publish({"inner.yaml": None})
        await now.serves("Provider/other")
        await now.until(lambda: now.folders == [])
        await now.apply(git_source("team", url), provider("other"))
        await now.serves("GitSource/team", "Provider/one", "Provider/other")


async def test_two_sources_with_one_object(repository: Repository, url: str, state: Path, tmp_path: Path) -> None:
    """The second is refused and says who has it; when the first lets go of it, the second has it."""
    second = Repository(tmp_path / "b")
    second.publish({"one.yaml": provider("one", "second").encode()})
    async with serving(state) as now:
        await now.apply(git_source("a", url))
        await now.serves("GitSource/a", "Provider/one")
        await now.apply(git_source("b", f"file://{second.bare}"), source="b")
        await now.until(lambda: now.reconciler.stale)
        assert "Provider/one is declared by git/default/a" in now.source("b").attempts[0].message
        repository.publish({"one.yaml": None, "three.yaml": provider("three").encode()})
        await now.serves("GitSource/a", "GitSource/b", "Provider/one", "Provider/three")
        await now.until(lambda: "second" in str(now.spec("Provider", "one")))


async def test_suspended_and_resumed_by_a_person(repository: Repository, url: str, state: Path) -> None:
    """Nothing is followed in between, and at once afterwards, whatever the interval."""
    manifest = git_source("team", url).replace("50ms", "1h")
    async with serving(state) as now:
        await now.apply(manifest)
        await now.serves("GitSource/team", "Provider/one")
        await now.reconciler.suspend("git/default/team", "holiday")
        repository.publish({"two.yaml": provider("two").encode()})
        now.sources.poke("git/default/team")
        await asyncio.sleep(0.3)
        assert now.names == ["GitSource/team", "Provider/one"]
        await now.reconciler.resume("git/default/team")
        await now.serves("GitSource/team", "Provider/one", "Provider/two")


async def test_a_rollback_holds_until_there_is_a_newer_commit(repository: Repository, url: str, state: Path) -> None:
    """The commit that was undone is not delivered again, the next one is."""
    async with serving(state) as now:
        await now.apply(git_source("team", url))
        await now.serves("GitSource/team", "Provider/one")
        repository.publish({"two.yaml": provider("two").encode()})
        await now.serves("GitSource/team", "Provider/one", "Provider/two")
        await now.reconciler.undo()
        assert now.names == ["GitSource/team", "Provider/one"]
        await asyncio.sleep(0.3)
        assert now.names == ["GitSource/team", "Provider/one"]
        assert now.source("team").suspended
        repository.publish({"three.yaml": provider("three").encode()})
        await now.serves("GitSource/team", "Provider/one", "Provider/three", "Provider/two")
        assert not now.source("team").suspended


@pytest.mark.parametrize("prune", [True, False], ids=["deleted", "kept"])
async def test_a_rollback_to_a_source_that_was_let_go(
    repository: Repository, url: str, state: Path, prune: bool
) -> None:
    """It comes back suspended, because it would deliver what is newest otherwise; resumed, it does."""
    async with serving(state) as now:
        await now.apply(git_source("team", url, f"prune: {str(prune).lower()}"), provider("other"))
        await now.serves("GitSource/team", "Provider/one", "Provider/other")
        before = now.reconciler.number
        await now.reconciler.delete([Ref("GitSource", "team")])
        await now.until(lambda: now.folders == [])
        repository.publish({"two.yaml": provider("two").encode()})
        plan = await now.reconciler.undo(before)
        assert plan.suspends == ("git/default/team",)
        await now.until(lambda: now.folders == ["team"])
        await asyncio.sleep(0.3)
        assert now.names == ["GitSource/team", "Provider/one", "Provider/other"]
        assert (now.source("team").type, now.source("team").suspended) == ("git", True)
        await now.reconciler.resume("git/default/team")
        await now.serves("GitSource/team", "Provider/one", "Provider/other", "Provider/two")


async def test_a_rollback_while_the_remote_is_down(repository: Repository, url: str, state: Path) -> None:
    """A look that failed takes nothing from what was attempted last, so that a newer commit ends the suspension."""
    async with serving(state) as now:
        await now.apply(git_source("team", url))
        await now.serves("GitSource/team", "Provider/one")
        repository.publish({"two.yaml": provider("two").encode()})
        await now.serves("GitSource/team", "Provider/one", "Provider/two")
        away = repository.bare.rename(repository.bare.with_name("away"))
        await now.until(lambda: now.reconciler.stale)
        assert now.source("team").last_attempted_revision == revision(repository)
        await now.reconciler.undo()
        away.rename(repository.bare)
        repository.publish({"three.yaml": provider("three").encode()})
        await now.serves("GitSource/team", "Provider/one", "Provider/three", "Provider/two")


async def test_a_force_push_is_an_event(repository: Repository, url: str, state: Path) -> None:
    """It is in the journal, with what was and what is."""
    async with serving(state) as now:
        await now.apply(git_source("team", url))
        await now.serves("GitSource/team", "Provider/one")
        before = repository.git("rev-parse", "HEAD")
        repository.git("commit", "--quiet", "--amend", "-m", "another")
        repository.push()
        await now.until(lambda: now.source("team").last_applied_revision == revision(repository))
        forced = [event.data for event in now.events if isinstance(event.data, SourceForced)]
        assert [(one.before, one.source) for one in forced] == [(before, "git/default/team")]
        rows = await now.services.store.read()
        assert "source.forced" in {row.type for row in rows}


async def test_a_poke_names_what_there_is(url: str, state: Path, tmp_path: Path) -> None:
    """An unknown name is told with what may have been meant; without a name everything looks."""
    (tmp_path / "manifests").mkdir()
    async with serving(state, [tmp_path / "manifests"]) as now:
        await now.apply(git_source("team", url).replace("50ms", "1h"))
        await now.serves("GitSource/team", "Provider/one")
        with pytest.raises(NotFound, match='did you mean "git/default/team"'):
            now.sources.poke("git/default/taem")
        at = now.source("team").attempts[0].at
        await asyncio.sleep(1.01)  # times are told in seconds
        now.sources.poke()
        await now.until(lambda: now.source("team").attempts[0].at > at)
    async with serving(tmp_path / "other") as now:
        with pytest.raises(NotFound, match="nothing is followed"):
            now.sources.poke("x")


@pytest.mark.parametrize("what", ["folder", "repository"])
async def test_a_look_answers_what_was_asked_before_it_began(
    url: str, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """One that began before it is asked says nothing of now: another follows, also while what it found is opened."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "here.yaml").write_text(provider("here"))
    async with serving(state, [folder]) as now:
        await now.apply(git_source("team", url).replace("50ms", "1h"))
        await now.serves("GitSource/team", "Provider/here", "Provider/one")
        name, kind = (str(folder), DirectorySource) if what == "folder" else ("git/default/team", GitSource)
        begun, go_on, deliver = asyncio.Event(), asyncio.Event(), kind._deliver

        async def wait(*given: Any) -> None:
            begun.set()
            await go_on.wait()
            await deliver(*given)

        monkeypatch.setattr(kind, "_deliver", wait)
        now.sources.poke(name)
        await begun.wait()
        now.sources.poke(name)
        assert (now.reconciler.source(name).asked, now.reconciler.source(name).answered) == (2, 0)
        go_on.set()
        await now.until(lambda: now.reconciler.source(name).answered == 2)


@pytest.mark.parametrize("what", ["folder", "repository"])
async def test_what_a_source_holds_by_now_takes_the_place_of_what_is_still_opened(
    repository: Repository, url: str, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A mistake that takes long to open is mended at once; nothing is told of it as refused."""
    gate = gated(monkeypatch)
    folder = tmp_path / "manifests"
    folder.mkdir()
    async with asyncio.timeout(40), serving(state, [folder]) as now:
        await now.apply(git_source("team", url))
        await now.serves("GitSource/team", "Provider/one")
        if what == "folder":
            (folder / "slow.yaml").write_text(provider("slow"))
            await gate.reached.wait()
            (folder / "slow.yaml").write_text(provider("quick"))
        else:
            repository.publish({"slow.yaml": provider("slow").encode()})
            await gate.reached.wait()
            repository.publish({"slow.yaml": provider("quick").encode()})
        await now.serves("GitSource/team", "Provider/one", "Provider/quick")
        name = str(folder) if what == "folder" else "git/default/team"
        await now.until(lambda: now.reconciler.source(name).attempts[0].outcome == "applied")
        assert {one.outcome for one in now.reconciler.source(name).attempts} <= {"applied", "unchanged"}
        assert (gate.times, now.reconciler.rejected) == (1, {})


@pytest.mark.parametrize("mended", [False, True])
async def test_a_start_looks_again_while_something_is_opened(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mended: bool
) -> None:
    """What takes long at a start can be mended without another start; it goes on when it stays as it was."""
    gate = gated(monkeypatch)
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "a.yaml").write_text(provider("slow"))

    async def mend() -> None:
        await gate.reached.wait()
        if mended:
            (folder / "a.yaml").write_text(provider("quick"))
        skip(5.0, monkeypatch)
        if not mended:
            await asyncio.sleep(0.1)
            gate.open.set()

    mending = asyncio.ensure_future(mend())
    async with asyncio.timeout(40), serving(state, [folder]) as now:
        await mending
        assert now.names == ["Provider/quick" if mended else "Provider/slow"]
        assert gate.times == 1


async def test_a_source_that_fails_is_begun_again(
    state: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    """An unexpected fault is logged, and ends neither the source nor the others."""
    monkeypatch.setattr(runner, "AGAIN", 0.01)
    faults = [RuntimeError("odd"), OSError("odd")]

    async def fail(self: object) -> None:
        del self
        if faults:
            raise faults.pop()
        await asyncio.Event().wait()

    async with serving(state) as now:
        await now.apply(git_source("team", url))
        await now.serves("GitSource/team", "Provider/one")
        source, _ = now.sources._repositories["git/default/team"]
        monkeypatch.setattr(type(source), "scan", fail)
        source.poke()
        await now.until(lambda: not faults)
        monkeypatch.undo()
    assert caplog.text.count("git/default/team failed unexpectedly") == 2


async def test_nothing_served_says_nothing_about_what_is_wanted(url: str, state: Path) -> None:
    """When what is stored cannot serve, no source is taken for removed: what it declared and its folder stay."""
    async with serving(state) as now:
        await now.apply(git_source("team", url))
        await now.serves("GitSource/team", "Provider/one")
        empty = Services(now.services.store, now.services.bus, now.services.clock, state)
        running = asyncio.ensure_future(Sources(now.reconciler, empty, []).run())
        await asyncio.sleep(0.1)
        running.cancel()
        await asyncio.wait([running])
        assert now.folders == ["team"]
        assert now.names == ["GitSource/team", "Provider/one"]


async def test_the_object_is_as_ready_as_its_source(repository: Repository, url: str, state: Path) -> None:
    """A repository that cannot be followed is not shown as ready, whatever else is well with its object."""
    ref = Ref("GitSource", "team")

    def ready(now: Serving) -> tuple[str, str]:
        found = next(one for one in now.reconciler.status(ref).conditions if one.type == "Ready")
        return found.status, found.reason

    async with serving(state) as now:
        await now.apply(git_source("team", url))
        await now.until(lambda: ready(now) == ("True", "Applied"))
        repository.publish({"one.yaml": b"kind: ["})
        await now.until(lambda: ready(now) == ("False", "Refused"))
        repository.publish({"one.yaml": provider("one").encode()})
        await now.until(lambda: ready(now) == ("True", "Applied"))
