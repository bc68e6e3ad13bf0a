"""What a folder no longer declares is deleted, and only that. With a reconciler, on real manifests."""

from pathlib import Path

import pytest

from loomd.manifest.object import Ref
from tests.sources.serving import provider, serving


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that declares two providers."""
    path = tmp_path / "manifests"
    path.mkdir()
    (path / "one.yaml").write_text(provider("one"))
    (path / "two.yaml").write_text(provider("two"))
    return path


async def test_what_is_gone_from_the_folder_is_deleted(folder: Path, tmp_path: Path) -> None:
    """By what the folder declared itself: objects that others declare stay; the inventory follows."""
    async with serving(tmp_path / "state", [folder]) as now:
        await now.apply(provider("by-hand"))
        await now.serves("Provider/by-hand", "Provider/one", "Provider/two")
        (folder / "two.yaml").unlink()
        await now.serves("Provider/by-hand", "Provider/one")
        assert now.reconciler.source(str(folder)).inventory == ("Provider/default/one",)
        (folder / "one.yaml").rename(folder / "renamed.yaml")
        await now.until(lambda: "renamed.yaml" in {file.path for file in now.reconciler.files(str(folder))})
        assert now.names == ["Provider/by-hand", "Provider/one"]


async def test_nothing_is_deleted_when_anything_failed(folder: Path, tmp_path: Path) -> None:
    """A file that is not valid keeps the others from taking effect; once it is mended all of it does."""
    async with serving(tmp_path / "state", [folder]) as now:
        await now.serves("Provider/one", "Provider/two")
        (folder / "two.yaml").unlink()
        (folder / "three.yaml").write_text("kind: [")
        await now.until(lambda: now.reconciler.stale)
        assert now.names == ["Provider/one", "Provider/two"]
        assert len(now.reconciler.source(str(folder)).inventory) == 2
        (folder / "three.yaml").write_text(provider("three"))
        await now.serves("Provider/one", "Provider/three")


async def test_what_asks_to_be_kept_is_kept(folder: Path, tmp_path: Path) -> None:
    """An object opts out by annotation: it serves on without a file, also after a restart, and can be declared anew."""
    kept = provider("two").replace("{name: two}", '{name: two, annotations: {loomd.dev/prune: "disabled"}}')
    (folder / "two.yaml").write_text(kept)
    async with serving(tmp_path / "state", [folder]) as now:
        await now.serves("Provider/one", "Provider/two")
        (folder / "two.yaml").unlink()
        await now.until(lambda: len(now.reconciler.files(str(folder))) == 2 and not (folder / "two.yaml").exists())
        (folder / "three.yaml").write_text(provider("three"))
        await now.serves("Provider/one", "Provider/three", "Provider/two")
    async with serving(tmp_path / "state", [folder]) as now:
        assert now.names == ["Provider/one", "Provider/three", "Provider/two"]
        (folder / "two.yaml").write_text(provider("two", "anew"))
        await now.until(lambda: "anew" in str(now.spec("Provider", "two")))
        (folder / "two.yaml").unlink()
        await now.serves("Provider/one", "Provider/three")


async def test_what_others_refer_to_is_not_deleted(folder: Path, tmp_path: Path) -> None:
    """The refusal names who refers to it, and nothing else of the change takes effect."""
    agent = "apiVersion: loomd.dev/v1\nkind: Agent\nmetadata: {name: ada}\nspec: {provider: two, description: x}\n"
    async with serving(tmp_path / "state", [folder]) as now:
        await now.apply(agent)
        await now.until(lambda: "Agent/ada" in now.names)
        (folder / "two.yaml").unlink()
        await now.until(lambda: now.reconciler.stale)
        message = now.reconciler.source(str(folder)).attempts[0].message
        assert "Agent/ada" in message
        assert "two" in message
        assert Ref("Provider", "two") in now.reconciler.topology.snapshot.objects


async def test_an_empty_folder_deletes_nothing(folder: Path, tmp_path: Path) -> None:
    """Neither one without files nor one whose files declare nothing."""
    async with serving(tmp_path / "state", [folder]) as now:
        await now.serves("Provider/one", "Provider/two")
        (folder / "two.yaml").unlink()
        (folder / "one.yaml").write_text("# nothing any more\n")
        await now.until(lambda: now.reconciler.stale)
        assert "declares nothing any more" in now.reconciler.source(str(folder)).attempts[0].message
        (folder / "one.yaml").unlink()
        await now.until(lambda: "deletes nothing" in now.reconciler.source(str(folder)).attempts[0].message)
        assert now.names == ["Provider/one", "Provider/two"]


async def test_files_that_manifests_name_are_followed(folder: Path, tmp_path: Path) -> None:
    """A skill's document that changes is a change of the skill."""
    (folder / "s.md").write_text("---\nname: s\ndescription: x\n---\nDo this.\n")
    skill = "apiVersion: loomd.dev/v1\nkind: Skill\nmetadata: {name: s}\nspec: {file: s.md}\n"
    (folder / "s.yaml").write_text(skill)
    async with serving(tmp_path / "state", [folder]) as now:
        await now.serves("Provider/one", "Provider/two", "Skill/s")
        number = now.reconciler.number
        (folder / "s.md").write_text("---\nname: s\ndescription: x\n---\nDo that.\n")
        await now.until(lambda: now.reconciler.number == number + 1)
        assert "Do that." in str(now.reconciler.topology.live[Ref("Skill", "s")])
