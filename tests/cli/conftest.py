"""A daemon for the tests of one module, and the folder that a test applies from."""

import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.cli.terminal import Folder, Screen
from tests.daemon.process import Daemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Generator[Daemon, None, None]:
    """Yield a daemon that follows nothing."""
    made = Daemon(tmp_path_factory.mktemp("daemon"))
    made.start("--config", made.configure(watch=[]))
    yield made
    made.kill()


@pytest.fixture(autouse=True)
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let verbs that run in the process of a test not say that they are at work, however long a busy machine takes."""
    monkeypatch.setattr("loomd.cli.progress.PATIENCE", 3600.0)


@pytest.fixture
def folder(daemon: Daemon, tmp_path: Path, request: pytest.FixtureRequest) -> Folder:
    """Return a folder with the manifests of a team, in a namespace of its own."""
    name = request.node.name.replace("_", "-").replace("[", "-").lower()
    space = "".join(char for char in name if char.isalnum() or char == "-")[-50:].strip("-")
    return Folder(daemon, tmp_path, space)


@pytest.fixture
def screen(tmp_path: Path) -> Generator[Screen, None, None]:
    """Yield a terminal in tmux, as a person sees it."""
    tmux = shutil.which("tmux")
    if tmux is None:
        pytest.skip("needs tmux")
    made = Screen(tmux, tmp_path / "tmux")
    yield made
    made.close()
