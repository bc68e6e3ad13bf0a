"""SIGHUP on a daemon with a file of settings: what changes live, and what is refused as a whole."""

import http.client
import json
import os
import signal
from pathlib import Path

import pytest

from tests.daemon.process import PATIENCE, TEAM, Daemon
from tests.ports import free_port

SECOND = TEAM.partition("---")[0].replace("name: script", "name: second").replace("DELAY", "30s")


def hup(daemon: Daemon) -> None:
    """Send SIGHUP and wait until the settings were read or refused once more."""
    before = daemon.log.count("settings read again") + daemon.log.count("settings refused")
    daemon.tell(signal.SIGHUP)
    daemon.until(lambda: daemon.log.count("settings read again") + daemon.log.count("settings refused") > before)


def names(daemon: Daemon) -> set[str]:
    """Return the names of all objects that serve."""
    return {item["metadata"]["name"] for item in daemon.client.get("all")["items"]}


def asked(port: int, token: str, host: str = "localhost", path: str = "/version") -> int:
    """Return the status of a request over TCP."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}", "Host": host})
        return connection.getresponse().status
    finally:
        connection.close()


def test_other_folders_are_followed_after_a_reload(daemon: Daemon, tmp_path: Path) -> None:
    """A folder that is added serves, one that is taken away is no longer read, and what it declared stays."""
    second = tmp_path / "second"
    second.mkdir()
    (second / "second.yaml").write_text(SECOND)
    daemon.start("--config", daemon.configure())
    assert "second" not in names(daemon)
    daemon.configure(watch=[str(daemon.folder), str(second)])
    hup(daemon)
    daemon.until(lambda: "second" in names(daemon))
    daemon.configure(watch=[str(second)])
    hup(daemon)
    daemon.write(TEAM.replace("DELAY", "30s").replace("everything", "nothing"))
    (second / "second.yaml").write_text(SECOND.replace("42", "43"))
    daemon.until(
        lambda: "43" in str(daemon.client.get("namespaces", "default", "providers", "second")["spec"]["replies"])
    )
    assert daemon.description() == "answers everything"
    assert names(daemon) == {"script", "ada", "team", "second"}
    states = {item["metadata"]["name"]: item["spec"]["type"] for item in daemon.client.get("sources")["items"]}
    assert states == {str(daemon.folder): "apply", str(second): "directory"}


def test_the_file_wins_over_the_environment(daemon: Daemon) -> None:
    """A folder that the settings name is the one that is opened, whatever variables say; a flag wins over both."""
    daemon.start("--config", daemon.configure(stateDir="named"))
    assert (daemon.home / "named" / "loomd.db").exists()
    assert not (daemon.home / "state").exists()
    daemon.kill()
    daemon.start("--config", daemon.configure(stateDir="named"), "--state", str(daemon.home / "said"))
    assert (daemon.home / "said" / "loomd.db").exists()


def test_the_log_changes_live(daemon: Daemon) -> None:
    """Level and form of the log are those of the newest settings."""
    daemon.start("--config", daemon.configure())
    daemon.configure(log={"level": "debug", "format": "json"})
    hup(daemon)
    lines = [json.loads(line) for line in daemon.log.splitlines() if line.startswith("{")]
    assert lines[0]["message"] == "settings read again"
    assert set(lines[0]) == {"time", "level", "logger", "message"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"history": 3}, "history is 100, the file says 3"),
        ({"listen": "127.0.0.1:1", "token": {"valueFrom": {"env": "HOME"}}}, "listen is not set, the file says"),
        ({"socketMode": "0660", "drain": "1s"}, "socketMode is 0600, the file says 0660; drain is 30s"),
        ({"limits": {"body": "1Mi"}}, 'limits is {"headerTime"'),
    ],
    ids=["history", "listen", "two", "nested"],
)
def test_what_needs_a_restart_is_refused_with_all_else(daemon: Daemon, changed: dict[str, object], said: str) -> None:
    """A file that changes a fixed field changes nothing at all, not even what it might; mended, it is taken."""
    daemon.start("--config", daemon.configure())
    daemon.configure(**changed, log={"format": "json"}, watch=[])
    hup(daemon)
    assert "nothing was changed" in daemon.log
    assert said in daemon.log
    assert "{" not in daemon.log.splitlines()[-1][:1]
    assert said in daemon.ask("/readyz?verbose")[1]
    assert daemon.ask("/readyz")[0] == 200
    daemon.write(TEAM.replace("DELAY", "30s").replace("everything", "all"))
    daemon.until_described("answers all")
    events = daemon.loomd("events", "-o", "json").stdout
    assert '"source":"settings"' in events.replace(": ", ":")
    daemon.configure()
    hup(daemon)
    assert "[+]settings ok" in daemon.ask("/readyz?verbose")[1]


def test_a_file_that_is_gone_or_broken_is_refused(daemon: Daemon) -> None:
    """The daemon goes on with the settings that it has."""
    path = Path(daemon.configure())
    daemon.start("--config", str(path))
    path.unlink()
    hup(daemon)
    assert "no such file" in daemon.log
    path.write_text("grace: [")
    hup(daemon)
    assert "loomd.yaml:1:9: expected a value" in daemon.log
    assert daemon.is_ready()
    assert daemon.stop() == 0


def test_the_token_and_the_hosts_change_live(daemon: Daemon, tmp_path: Path) -> None:
    """A token that was exchanged in its file holds from the reload on; one that became too short is refused."""
    token = tmp_path / "token"
    token.write_text("first token of the daemon\n")
    port = free_port()
    over = {"listen": f"127.0.0.1:{port}", "token": {"valueFrom": {"file": str(token)}}}
    daemon.start("--config", daemon.configure(**over))
    assert asked(port, "first token of the daemon") == 200
    assert asked(port, "second token of the daemon") == 401
    assert asked(port, "first token of the daemon", "loomd.example") == 403
    token.write_text("second token of the daemon\n")
    assert asked(port, "first token of the daemon") == 200
    daemon.configure(**over, allowedHosts=["LOOMD.example"])
    hup(daemon)
    assert asked(port, "first token of the daemon") == 401
    assert asked(port, "second token of the daemon", "loomd.example") == 200
    token.write_text("short")
    hup(daemon)
    assert "expected at least 16 characters, got 5" in daemon.log
    assert asked(port, "second token of the daemon") == 200
    assert asked(port, "short") == 401
    assert "token of the daemon" not in daemon.log


def test_a_mounted_config_map_is_swapped(daemon: Daemon) -> None:
    """Manifests behind a `..data` link, as the kubelet mounts them, serve after one atomic swap of the link."""
    mount = daemon.home / "mount"
    mount.mkdir()

    def publish(number: int, text: str) -> None:
        fresh = mount / f"..2026_{number}"
        fresh.mkdir()
        (fresh / "team.yaml").write_text(text)
        (mount / "..data_tmp").symlink_to(fresh.name)
        os.replace(mount / "..data_tmp", mount / "..data")  # noqa: PTH105  # what the kubelet does
        if not (mount / "team.yaml").is_symlink():
            (mount / "team.yaml").symlink_to("..data/team.yaml")

    publish(1, TEAM.replace("DELAY", "30s"))
    daemon.start("--config", daemon.configure(watch=[str(mount)]))
    assert daemon.description() == "answers everything"
    for number in range(2, 5):
        publish(number, TEAM.replace("DELAY", "30s").replace("everything", f"all {number}"))
        daemon.until_described(f"answers all {number}")
    assert daemon.client.get("rollout")["number"] == 4
