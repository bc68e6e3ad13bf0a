"""Declared tasks in a real daemon: shown, sent by name, by file and by a schedule, changed while one runs."""

import json
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.daemon.process import TEAM, Daemon

TASKS = """---
apiVersion: loomd.dev/v1
kind: Task
metadata: {name: report}
spec: {goal: Write the report., cluster: team, files: [week.md], retries: 1, tenant: acme, budget: {tokens: 5000}}
---
apiVersion: loomd.dev/v1
kind: Schedule
metadata: {name: mondays}
spec: {schedule: 0 6 1 1 *, task: report}
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Generator[Daemon, None, None]:
    """Yield a daemon that serves a declared task; it is killed at the end."""
    made = Daemon(tmp_path)
    (made.folder / "week.md").write_text("first week\n")
    made.write(TEAM.replace("DELAY", "1s") + TASKS)
    made.start()
    yield made
    made.kill()


def test_it_is_an_object_like_all_others(daemon: Daemon) -> None:
    """Listed and described beside what runs, by either spelling; a name that is wrong has a hint; nothing runs."""
    table = daemon.loomd("get", "declaredtasks").stdout.splitlines()
    assert table[0].split() == ["NAME", "READY", "CLUSTER", "RETRIES", "AGE", "GOAL"]
    assert table[1].split()[:4] == ["report", "True", "team", "1"]
    page = daemon.loomd("describe", "task/report").stdout
    assert "Kind:" in page
    assert "goal: Write the report." in page
    assert "Schedule/mondays" in page
    assert daemon.loomd("get", "declaredtask/report", "-o", "name").stdout == "Task/report\n"
    assert "Task/report" in daemon.loomd("get", "all").stdout
    assert json.loads(daemon.loomd("get", "tasks", "-o", "json").stdout)["items"] == []
    missing = daemon.loomd("submit", "task/reprt")
    assert (missing.returncode != 0, 'did you mean "report"?' in missing.stderr) == (True, True), missing.stderr


def test_it_is_sent_by_name_by_file_and_by_a_schedule(daemon: Daemon) -> None:
    """Each run is a task of its own and says what it is a run of; a key makes it the same one."""
    done = daemon.loomd("submit", "Task/report", "--wait", "--quiet")
    assert (done.returncode, done.stdout) == (0, "The answer is 42.\n"), done.stderr
    one = daemon.loomd("submit", "--from", "task/report", "--key", "monday").stdout.strip()
    assert daemon.loomd("submit", "--from", "task/report", "--key", "monday").stdout.strip() == one
    spec = daemon.client.get("namespaces", "default", "tasks", one)["spec"]
    assert (spec["declared"], spec["tenant"], spec["retries"]) == ("report", "acme", 1)
    assert [(file["goal"], file["output"]) for file in spec["findings"]] == [("week.md", "first week\n")]
    page = daemon.loomd("describe", f"task/{one}").stdout
    assert "Task/report" in page
    assert "week.md" in page
    scheduled = daemon.loomd("submit", "--from", "schedule/mondays", "--wait", "--quiet")
    assert (scheduled.returncode, scheduled.stdout) == (0, "The answer is 42.\n"), scheduled.stderr
    (daemon.home / "task.yaml").write_text(
        "apiVersion: loomd.dev/v1\nkind: Task\nmetadata: {name: other}\nspec: {goal: Say it., session: talk}\n"
    )
    sent = daemon.loomd("submit", "-f", str(daemon.home / "task.yaml"), "--wait", "--quiet")
    assert (sent.returncode, sent.stdout) == (0, "The answer is 42.\n"), sent.stderr
    runs = [item["spec"].get("declared", "") for item in daemon.client.get("tasks")["items"]]
    assert sorted(runs) == ["", "report", "report", "report"]


def test_what_does_not_fit_together_is_refused(daemon: Daemon) -> None:
    """Options beside a declared task, two origins, an id, a file without a task."""
    for words in (("Task/report", "--max-tokens", "5"), ("--from", "task/report", "goal")):
        done = daemon.loomd("submit", *words)
        assert (done.returncode, "says what is wanted" in done.stderr) == (2, True), done.stderr
    both = daemon.loomd("submit", "--from", "task/report", "-f", str(daemon.folder / "team.yaml"))
    assert (both.returncode, "name one of them" in both.stderr) == (2, True)
    ran = daemon.loomd("submit", "--from", "task/report").stdout.strip()
    again = daemon.loomd("submit", "--from", f"task/{ran}")
    assert (again.returncode, f"loomd retry task/{ran}" in again.stderr) == (2, True), again.stderr
    (daemon.home / "none.yaml").write_text(
        "apiVersion: loomd.dev/v1\nkind: Schedule\nmetadata: {name: s}\nspec: {schedule: '@daily', goal: Look.}\n"
    )
    none = daemon.loomd("submit", "-f", str(daemon.home / "none.yaml"))
    assert (none.returncode, "expected one Task, got none" in none.stderr) == (1, True), none.stderr


def test_a_changed_file_changes_the_next_run(daemon: Daemon) -> None:
    """The object is opened anew with its new file."""
    (daemon.folder / "week.md").write_text("second week\n")

    def text() -> str:
        task = daemon.loomd("submit", "--from", "task/report").stdout.strip()
        found = daemon.client.get("namespaces", "default", "tasks", task)["spec"]["findings"]
        return str(found[0]["output"])

    daemon.until(lambda: text() == "second week\n")
