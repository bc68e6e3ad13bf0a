"""A repository that a daemon follows, as a person sees it: where problems are, and that a remote is away."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.cli.terminal import TEAM, Folder
from tests.ports import free_port
from tests.sources.remotes import Repository

SOURCE = """\
apiVersion: loomd.dev/v1
kind: GitSource
metadata: {name: team, namespace: SPACE}
spec: {url: "file://BARE", path: live, interval: 1h, retry: {first: 1h, longest: 1h}}
"""


@pytest.fixture
def repository(folder: Folder, tmp_path: Path) -> Generator[Repository]:
    """Yield a repository with a team in its folder `live`, followed."""
    made = Repository(tmp_path)
    made.publish({"live/team.yaml": TEAM.replace("SPACE", folder.space).encode()})
    (folder.path / "team.yaml").unlink()
    folder.write("source.yaml", SOURCE.replace("BARE", str(made.bare)))
    folder.apply()
    folder.said("wait", "agent/ada", "-n", folder.space, "--for", "create")
    yield made
    folder.said("delete", "gitsource/team", "-n", folder.space)
    folder.daemon.until(lambda: "git/" not in folder.said("get", "sources"))


def test_problems_are_told_with_their_place_in_the_repository(repository: Repository, folder: Folder) -> None:
    """The file has its path in the repository, and its line comes from the daemon, with the secrets of it hidden."""
    text = TEAM.replace("SPACE", folder.space)
    text = text.replace("provider: script", "provider: 7").replace("type: scripted", "type: scripted\n  apiKey: sesame")
    repository.publish({"live/team.yaml": text.encode()})
    ran = folder.loomd("reconcile", "team", "-n", folder.space, "--wait")
    assert ran.returncode == 4
    assert f"git/{folder.space}/team/live/team.yaml:20:13: error[wrong-type]" in ran.stderr
    assert "20 |   provider: 7\n   |             ^\n" in ran.stderr
    assert "7 |   apiKey: (hidden)\n" in ran.stderr
    described = folder.said("describe", "source", f"git/{folder.space}/team")
    assert "20 |   provider: 7\n" in described
    assert "sesame" not in described + ran.stderr


def test_a_remote_that_is_away_is_said_to_be_so(folder: Folder) -> None:
    """Nobody calls it refused."""
    address = f"git://127.0.0.1:{free_port()}/team.git"
    folder.write("source.yaml", SOURCE.replace("file://BARE", address))
    folder.apply()
    name = f"git/{folder.space}/team"
    folder.daemon.until(lambda: name in folder.said("get", "sources"))
    ran = folder.loomd("reconcile", "team", "-n", folder.space, "--wait")
    ready = folder.daemon.ask("/readyz?verbose")[1]
    folder.said("delete", "gitsource/team", "-n", folder.space)
    assert ran.returncode == 4
    assert ran.stderr.endswith(f"{name}: its newest state could not be taken, and is tried again\n")
    assert f"[-]source {name} cannot be reached: GitSource/{folder.space}/team {address}: " in ready
