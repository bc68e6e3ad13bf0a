"""rollout at a real daemon that follows a folder, and the verbs about sources."""

import json
import re
import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.cli.terminal import Folder
from tests.daemon.process import Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Generator[Daemon, None, None]:
    """Yield a daemon that is not started yet: its history is that of one test."""
    home = tmp_path / "daemon"
    home.mkdir()
    made = Daemon(home)
    yield made
    made.kill()


@pytest.fixture
def followed(folder: Folder) -> Folder:
    """Return the folder, followed by the daemon, with a second revision."""
    folder.daemon.start("--config", folder.daemon.configure(watch=[str(folder.path)]))
    folder.change("answers everything", "answers all")
    folder.daemon.until(lambda: folder.description() == "answers all")
    return folder


@pytest.fixture
def applied(folder: Folder) -> Folder:
    """Return the folder, applied twice."""
    folder.daemon.start("--config", folder.daemon.configure(watch=[]))
    folder.apply()
    folder.change("answers everything", "answers all")
    folder.apply()
    return folder


def test_history_tells_what_served(applied: Folder) -> None:
    """Newest first, the one that serves has a star; one of them shows its changes and files, or their texts."""
    rows = applied.said("rollout", "history").splitlines()
    assert [re.split(r"  +", row)[0] for row in rows] == ["NUMBER", "2 *", "1"]
    assert rows[1].endswith("ada changed: spec.description")
    one = applied.said("rollout", "history", "--revision", "1")
    assert "Cause:            apply" in one
    assert "team.yaml" in one
    assert "answers everything" not in one
    told = json.loads(applied.said("rollout", "history", "--revision", "1", "-o", "json"))
    assert "answers everything" in told["files"][0]["text"]
    assert applied.said("rollout", "history", "-o", "name") == "Revision/2\nRevision/1\n"
    assert applied.said("rollout", "history", "-o", "jsonpath={.items[0].spec.cause}") == "apply\n"
    assert applied.loomd("rollout", "history", "--revision", "9").returncode == 2


def test_undo_goes_back_and_forth(applied: Folder) -> None:
    """A dry run says what would change; without a number the one before serves again, under a number of its own."""
    would = applied.said("rollout", "undo", "--dry-run")
    assert '"answers all" -> "answers everything"' in would
    assert would.endswith("1 to be changed; 2 unchanged (server dry run)\n")
    assert applied.position() == 2
    told = applied.said("rollout", "undo")
    assert "revision 1 serves again, as revision 3: 1 to be changed; 2 unchanged" in told
    assert applied.description() == "answers everything"
    assert "revision 2 serves again, as revision 4" in applied.said("rollout", "undo", "--to", "2")
    assert applied.description() == "answers all"
    assert json.loads(applied.said("rollout", "undo", "-o", "json"))["after"]["number"] == 5
    assert "no changes: revision 5 serves on" in applied.said("rollout", "undo", "--to", "5")
    missing = applied.loomd("rollout", "undo", "--to", "99")
    assert missing.returncode == 2
    assert "no revision 99: kept are 1 to 5" in missing.stderr


def test_undo_suspends_what_is_followed(followed: Folder) -> None:
    """It says which source would undo it, and how to resume; resumed, the folder serves what it holds."""
    source = str(followed.path)
    assert f"{source} would be suspended" in followed.said("rollout", "undo", "--dry-run")
    told = followed.said("rollout", "undo")
    assert f"{source} is suspended: when its files are right again, loomd resume {source}" in told
    assert followed.description() == "answers everything"
    listed = followed.said("get", "sources").splitlines()[1]
    assert re.split(r"  +", listed)[1:4] == ["directory", "False (RolledBack)", "True"]
    ran = followed.loomd("reconcile", "manifests")
    assert ran.returncode == 1
    assert f"is suspended: loomd resume {source}" in ran.stderr
    assert followed.said("resume", "manifests") == f"{source} resumed\n"
    followed.daemon.until(lambda: followed.description() == "answers all")


def test_reconcile_tells_how_it_ended(followed: Folder) -> None:
    """Unchanged and applied are 0, refused is 4 with the problems, a source that nobody follows is named."""
    source = str(followed.path)
    assert followed.said("reconcile", "manifests") == f"{source}: asked to deliver\n"
    assert followed.said("reconcile", source, "--wait").endswith("serves (unchanged)\n")
    followed.change("provider: script", "provider: 7")
    ran = followed.loomd("reconcile", "manifests", "--wait")
    assert ran.returncode == 4
    assert "team.yaml:19:13: error" in ran.stderr
    assert ran.stderr.endswith("was refused\n")
    described = followed.said("describe", "source", "manifests")
    assert re.search(r"\n  sha256:\S+ +\d+s +refused +\S+team.yaml:19:13", described)
    assert "19 |   provider: 7" in described
    status = followed.loomd("rollout", "status")
    assert status.returncode == 4
    assert f"refused is the newest state of {source}" in status.stdout
    unknown = followed.loomd("reconcile", "manifest")
    assert unknown.returncode == 2
    assert "no source 'manifest': " in unknown.stderr


def test_what_is_followed_is_changed_there(followed: Folder) -> None:
    """Both edit and delete say where, with file and line; suspended, they work, until it is resumed."""
    source = str(followed.path)
    ran = followed.loomd("edit", "agent/ada", "-n", followed.space, EDITOR="false")
    assert ran.returncode == 1
    assert f"is declared at {source}/team.yaml:12:1, which is followed: change it there" in ran.stderr
    assert followed.loomd("delete", "cluster", "team", "-n", followed.space).returncode == 1
    assert f"{source} suspended; loomd resume {source}" in followed.said("suspend", "manifests", "--reason", "a trial")
    assert "a trial" in followed.said("describe", "source", "manifests")
    edit = "sed -i s/all/much/"
    assert "changed: spec.description" in followed.said("edit", "agent/ada", "-n", followed.space, EDITOR=edit)
    assert followed.description() == "answers much"
    followed.said("resume", source)
    followed.daemon.until(lambda: followed.description() == "answers all")


def test_what_nobody_follows_is_not_suspended(applied: Folder) -> None:
    """What was applied by hand delivers nothing that could be ignored."""
    ran = applied.loomd("suspend", "manifests")
    assert ran.returncode == 1
    assert "is not followed: it was applied by hand" in ran.stderr
    assert applied.loomd("reconcile", "manifests").returncode == 1


def test_status_waits_until_all_is_ready(applied: Folder) -> None:
    """Ready is 0, stalled is 4 at once, and what may still come is 1 when the time is over or nobody wants to wait."""
    told = applied.said("rollout", "status")
    assert re.fullmatch(r"revision 2 \(\w+\) serves: 3 of 3 objects are ready\n", told)
    broken = applied.path.parent / "other"
    broken.mkdir()
    (broken / "bob.yaml").write_text(
        f"apiVersion: loomd.dev/v1\nkind: Agent\nmetadata: {{name: bob, namespace: {applied.space}}}\n"
        "spec: {provider: later, description: waits}\n"
    )
    assert applied.loomd("apply", "-f", "other").returncode == 0
    stalled = applied.loomd("rollout", "status")
    assert stalled.returncode == 4
    assert "3 of 4 objects are ready, not ready: Agent/" in stalled.stdout
    act = threading.Timer(0.3, lambda: applied.daemon.loomd("apply", "-f", str(late(applied))))
    act.start()
    started = time.monotonic()
    while applied.loomd("rollout", "status", "--timeout", "5s").returncode != 0:
        assert time.monotonic() - started < 60
    act.join()


def late(folder: Folder) -> Path:
    """Write the provider that was missing and return its path."""
    path = folder.path.parent / "late.yaml"
    path.write_text(
        f"apiVersion: loomd.dev/v1\nkind: Provider\nmetadata: {{name: later, namespace: {folder.space}}}\n"
        "spec: {type: scripted, replies: [{text: yes, times: null}]}\n"
    )
    return path
