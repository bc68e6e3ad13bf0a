"""Documents of a repository: read at a commit, followed when it moves, kept when it is away."""

import asyncio
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from loomd.errors import LoomdError
from loomd.knowledge.kind import KIND
from loomd.knowledge.sources.git import GitDocuments
from loomd.knowledge.sources.git import Repository as Followed
from tests.sources.remotes import Repository

if TYPE_CHECKING:
    from tests.knowledge.conftest import Lab

FILES: dict[str, bytes | None] = {
    "docs/cats.md": b"# Cats\n\nCats purr.\n",
    "docs/deep/dogs.md": b"# Dogs\n\nDogs bark.\n",
    "docs/a.yaml": b"a: 1\n",
    "README.md": b"Read me.\n",
}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Return a repository with documents on its branch `main`."""
    made = Repository(tmp_path / "remote")
    made.publish(FILES)
    return made


def source(repository: Repository, **fields: Any) -> dict[str, Any]:
    """Return a source that reads the repository."""
    return {"type": "git", "url": f"file://{repository.bare}", "path": "docs", **fields}


def only(base: Any) -> Followed:
    """Return the only source of a knowledge base."""
    (found,) = base._library._sources
    assert isinstance(found, Followed)
    return found


async def test_documents_of_a_repository_are_found(lab: "Lab", repository: Repository) -> None:
    """They are cited by address, ref and path; what is outside of the folder or fits no pattern is not read."""
    lab.root.mkdir()
    async with lab.open(sources=[source(repository)], retrieval={"mode": "keyword"}) as base:
        url = f"file://{repository.bare}@main/docs"
        assert [one.source for one in await base.search("purr")] == [f"{url}/cats.md:3-3"]
        assert [one.source for one in await base.search("bark")] == [f"{url}/deep/dogs.md:3-3"]
        assert await base.search("read me") == []
        assert len(base) == 2


async def test_a_commit_is_read_once(lab: "Lab", repository: Repository) -> None:
    """What is pinned is what it is, whatever the branch does, and needs no remote any more."""
    lab.root.mkdir()
    pinned = repository.git("rev-parse", "HEAD")
    repository.publish({"docs/cats.md": b"Cats hiss.\n"})
    spec = source(repository, ref={"commit": pinned})
    for _ in range(2):
        async with lab.open(sources=[spec], retrieval={"mode": "keyword"}) as base:
            (found,) = await base.search("purr")
            assert found.source == f"file://{repository.bare}@{pinned[:12]}/docs/cats.md:3-3"
            assert only(base).interval is None
        shutil.rmtree(repository.bare, ignore_errors=True)


async def test_a_branch_that_moved_is_read_again(lab: "Lab", repository: Repository) -> None:
    """Only what changed is embedded, and what is gone is gone; the commit is written down."""
    lab.root.mkdir()
    async with lab.open(sources=[source(repository)], retrieval={"mode": "keyword"}) as base:
        lab.embedder.texts.clear()
        commit = repository.publish(
            {"docs/cats.md": b"Cats hiss.\n", "docs/deep/dogs.md": None, "docs/b.md": b"Owls.\n"}
        )
        await only(base).refresh()
        await base.refresh()
        assert sorted(lab.embedder.texts) == ["b.md\nOwls.", "cats.md\nCats hiss."]
        assert await base.search("bark") == []
        note = only(base)._read_note()
        assert note is not None
        assert (note.commit, note.revision) == (commit, f"main@sha1:{commit}")


async def test_it_is_asked_at_its_interval(lab: "Lab", repository: Repository) -> None:
    """A knowledge base that is open follows its repository by itself."""
    lab.root.mkdir()
    followed = asyncio.Event()
    async with lab.open(sources=[source(repository, refresh="50ms")], retrieval={"mode": "keyword"}) as base:

        async def index() -> None:
            await base.refresh()
            if await base.search("hiss"):
                followed.set()

        repository.publish({"docs/cats.md": b"Cats hiss.\n"})
        async with base._library.following(index, base.not_fetched, "kb"), asyncio.timeout(60):
            await followed.wait()


async def test_a_remote_that_is_away_takes_nothing(lab: "Lab", repository: Repository) -> None:
    """What was read stays, also after a restart, and it is said; a repository that was never there is an error."""
    lab.root.mkdir()
    async with lab.open(sources=[source(repository)]):
        pass
    away = repository.bare.rename(repository.bare.with_suffix(".away"))
    async with lab.open(sources=[source(repository)], retrieval={"mode": "keyword"}) as base:
        assert len(await base.search("purr")) == 1
        (missed,) = base.unreadable
        assert missed.path == f"file://{repository.bare}"
        assert missed.reason.startswith("stays at main@sha1:")
        (degraded,) = [one for one in base.health() if one.condition == "Degraded"]
        assert (degraded.status, degraded.reason) == ("True", "SourceUnreachable")
        assert base.standing().left_out == ()
        away.rename(repository.bare)
        await only(base).refresh()
        await base.refresh()
        assert base.unreadable == ()
    with pytest.raises(LoomdError, match=r"KnowledgeBase/kb spec\.sources\[0\]"):
        async with lab.open(sources=[source(repository, url=f"file://{repository.bare}x")]):
            pass


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ref": {"branch": "mian"}}, r"spec\.sources\[0\]\.ref\.branch: .* did you mean \"main\""),
        ({"path": "nowhere"}, r"spec\.sources\[0\]\.path: main@sha1:[0-9a-f]+ of file://.* has no folder 'nowhere'"),
        ({"include": ["*.rst"]}, r"spec\.sources\[0\]\.include: .* has no file that fits \*\.rst"),
        ({"limits": {"files": 1}}, r"spec\.sources\[0\]\.limits\.files: there are more than 1 files"),
    ],
)
async def test_what_is_not_there_is_said(
    lab: "Lab", repository: Repository, fields: dict[str, Any], message: str
) -> None:
    """The field, what was found, and the next act."""
    lab.root.mkdir()
    with pytest.raises(LoomdError, match=message):
        async with lab.open(sources=[source(repository, **fields)]):
            pass


async def test_a_commit_without_documents_is_not_taken(lab: "Lab", repository: Repository) -> None:
    """An emptied folder deletes nothing."""
    lab.root.mkdir()
    async with lab.open(sources=[source(repository)], retrieval={"mode": "keyword"}) as base:
        repository.publish({"docs/cats.md": None, "docs/deep/dogs.md": None})
        await only(base).refresh()
        await base.refresh()
        assert len(await base.search("purr")) == 1
        assert "has no file that fits" in base.unreadable[0].reason


async def test_copies_that_nobody_needs_are_removed(lab: "Lab", repository: Repository) -> None:
    """The folder of a source goes when a manifest opens that does not have it."""
    lab.root.mkdir()
    other = source(repository, path="")
    async with lab.open(sources=[source(repository), other]):
        assert len(list((lab.state / "git").iterdir())) == 2
    async with lab.open(sources=[other]):
        assert len(list((lab.state / "git").iterdir())) == 1


async def test_a_damaged_mirror_is_made_anew(lab: "Lab", repository: Repository) -> None:
    """What it says of it is told once, and the next look mends it."""
    lab.root.mkdir()
    async with lab.open(sources=[source(repository)]) as base:
        for path in (only(base)._place.mirrors).rglob("*.pack"):
            path.chmod(0o600)
            path.write_bytes(b"nothing")
        repository.publish({"docs/cats.md": b"Cats hiss.\n"})
        for _ in range(3):
            await only(base).refresh()
        await base.refresh()
        assert base.unreadable == ()
        note = only(base)._read_note()
        assert note is not None
        assert (note.root / "cats.md").read_bytes() == b"Cats hiss.\n"


@pytest.mark.parametrize(
    ("fields", "pointer", "message"),
    [
        ({"url": "ssh://git@h/a"}, "/url", "expected auth with sshKey and knownHosts for an ssh address"),
        ({"exclude": ["/x"]}, "/exclude/0", "must be a pattern relative to path"),
    ],
)
def test_what_does_not_go_together_is_told(tmp_path: Path, fields: dict[str, Any], pointer: str, message: str) -> None:
    """When manifests are validated, with its place."""
    raw = {"type": "git", "url": "https://h/a.git", **fields}
    (spec,) = KIND.adapter.validate_python({"embedder": "e", "sources": [raw]}).sources
    ((place, text, _),) = spec.check(tmp_path)
    assert place == pointer
    assert message in text


def test_an_address_holds_no_password() -> None:
    """It is refused by its type."""
    with pytest.raises(ValidationError, match="without a password"):
        GitDocuments.model_validate({"url": "https://u:p@h/a.git"})
