"""A repository and a folder followed by a real daemon, worked with by its command line."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.daemon.process import Daemon
from tests.sources.remotes import Repository, git_daemon
from tests.sources.serving import git_source, provider


@pytest.fixture
def daemon(tmp_path: Path) -> Generator[Daemon, None, None]:
    """Yield a daemon that is not started yet; it is killed at the end."""
    made = Daemon(tmp_path)
    yield made
    made.kill()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Return a repository that declares the provider `one`."""
    made = Repository(tmp_path / "remote")
    made.publish({"one.yaml": provider("one").encode()})
    return made


def providers(daemon: Daemon) -> list[str]:
    """Return the names of the providers that serve."""
    return daemon.loomd("get", "providers", "-o", "name").stdout.split()


def test_a_repository_is_followed_from_end_to_end(daemon: Daemon, repository: Repository, tmp_path: Path) -> None:
    """Applied, pushed, reconciled, refused, suspended, resumed, restarted without the remote, deleted."""
    with git_daemon(repository.served) as url:
        manifest = tmp_path / "source.yaml"
        manifest.write_text(git_source("team", url).replace("50ms", "1h"))
        daemon.start()
        applied = daemon.loomd("apply", "-f", str(manifest))
        assert applied.returncode == 0, applied.stderr
        daemon.until(lambda: providers(daemon) == ["Provider/one"])

        commit = repository.publish({"two.yaml": provider("two").encode()})
        done = daemon.loomd("reconcile", "git/default/team", "--wait")
        assert done.stdout == f"git/default/team: main@sha1:{commit} serves (applied)\n", done.stderr
        assert providers(daemon) == ["Provider/one", "Provider/two"]
        assert daemon.loomd("reconcile", "team").returncode == 0

        refused = repository.publish({"two.yaml": b"kind: Nothing\n"})
        broken = daemon.loomd("reconcile", "GitSource/team", "--wait")
        assert broken.returncode == 4
        assert "two.yaml" in broken.stderr
        status = daemon.client.get("sources", "git/default/team")["status"]
        assert status["lastAttemptedRevision"] == f"main@sha1:{refused}"
        assert status["lastAppliedRevision"] == f"main@sha1:{commit}"
        assert providers(daemon) == ["Provider/one", "Provider/two"]

        assert daemon.loomd("suspend", "git/default/team").returncode == 0
        repository.publish({"two.yaml": provider("three").encode()})
        assert "is suspended" in daemon.loomd("reconcile", "git/default/team").stderr
        assert daemon.loomd("resume", "git/default/team").returncode == 0
        daemon.until(lambda: providers(daemon) == ["Provider/one", "Provider/three"])
        assert daemon.stop() == 0
    daemon.start()
    assert providers(daemon) == ["Provider/one", "Provider/three"]
    daemon.until(lambda: "Connection refused" in daemon.loomd("describe", "source", "git/default/team").stdout)
    assert daemon.loomd("delete", "gitsource", "team").returncode == 0
    daemon.until(lambda: providers(daemon) == [])
    assert daemon.stop() == 0


def test_a_source_in_a_folder_is_followed(daemon: Daemon, repository: Repository) -> None:
    """Declared beside other manifests, it goes when its file does."""
    daemon.write(provider("local"))
    (daemon.folder / "git.yaml").write_text(git_source("team", f"file://{repository.bare}"))
    daemon.start()
    daemon.until(lambda: providers(daemon) == ["Provider/local", "Provider/one"])
    before = repository.git("rev-parse", "HEAD")
    repository.git("commit", "--quiet", "--amend", "-m", "rewritten")
    repository.push()
    daemon.until(lambda: "source.forced" in daemon.loomd("events").stdout)
    assert before in daemon.loomd("events", "-o", "json").stdout
    (daemon.folder / "git.yaml").unlink()
    daemon.until(lambda: providers(daemon) == ["Provider/local"])
