"""How the daemon is: for probes, for people, and for Prometheus."""

import re
import shutil
import subprocess

import pytest

from loomd.api.client import Client
from loomd.daemon import System
from loomd.errors import Overloaded
from tests.api.talk import TEAM, Answer, apply, ask, say

_LABEL = r'[a-z_]+="(?:[^"\\]|\\.)*"'
LINE = re.compile(rf"^(?P<name>[a-z_][a-z0-9_]*)(?:\{{{_LABEL}(?:,{_LABEL})*\}})? (?P<value>\S+)$")


async def metrics(system: System) -> Answer:
    """Return the metrics."""
    answer = await say(system, "GET", "/metrics")
    assert answer.status == 200
    return answer


async def test_ready_and_alive(client: Client, system: System) -> None:
    """A daemon that drains is alive and not ready; the verbose answer has a line for each part."""
    await apply(client, TEAM)
    ready = await say(system, "GET", "/readyz")
    assert (ready.status, ready.text) == (200, "ok\n")
    verbose = (await say(system, "GET", "/readyz?verbose")).text.splitlines()
    assert verbose == [
        "[+]store ok",
        f"[+]set revision 1 ({system.reconciler.revision}), 3 objects",
        "[+]settings ok",
        "[+]config ok",
        "[+]work is taken",
        "ok",
    ]
    system.ready = False
    drains = await say(system, "GET", "/readyz?verbose")
    assert drains.status == 503
    assert drains.text.splitlines()[-2:] == ["[-]work is not taken: it starts or drains", "not ready"]
    assert (await say(system, "GET", "/livez")).status == 200


async def test_a_daemon_that_can_keep_nothing_is_not_ready(client: Client, system: System) -> None:
    """Why no work is taken any more stands in the verbose answer, and in the refusal of whoever brings some."""
    await apply(client, TEAM)
    system.ready, system.fault = False, "the disk is gone"
    answer = await say(system, "GET", "/readyz?verbose")
    assert answer.status == 503
    assert answer.text.splitlines()[0] == "[-]store the disk is gone"
    with pytest.raises(Overloaded, match="the disk is gone"):
        await apply(client, TEAM)


async def test_metrics_follow_the_rules(client: Client, system: System) -> None:
    """Every metric has help and type, a prefix, a unit where it has one, and only sound lines."""
    await apply(client, TEAM)
    answer = await metrics(system)
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4"
    assert answer.text.endswith("\n")
    helped: set[str] = set()
    typed: dict[str, str] = {}
    for line in answer.text.splitlines():
        if line.startswith("# HELP "):
            name, _, text = line[7:].partition(" ")
            assert text
            assert name not in helped
            helped.add(name)
        elif line.startswith("# TYPE "):
            name, _, kind = line[7:].partition(" ")
            typed[name] = kind
        else:
            found = LINE.match(line)
            assert found, line
            assert found["name"] in helped & typed.keys()
            float(found["value"])
    assert all(name.startswith("loomd_") for name in helped)
    assert set(typed.values()) == {"gauge"}
    assert not [name for name in helped if name.endswith(("_total", "_count", "_sum", "_bucket"))]
    assert "loomd_config_last_reload_success_timestamp_seconds" in helped
    assert "loomd_build_info" in helped


async def test_promtool_agrees(client: Client, system: System) -> None:
    """The linter of Prometheus has nothing to say."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    await apply(client, TEAM)
    text = (await metrics(system)).text
    done = await ask(subprocess.run, [promtool, "check", "metrics"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


async def test_metrics_tell_what_happens(client: Client, system: System) -> None:
    """Objects, revision and tasks are those that are there; a label is escaped."""
    await apply(client, TEAM)
    text = (await metrics(system)).text
    assert "loomd_objects 3\n" in text
    assert f'loomd_revision_info{{number="1",revision="{system.reconciler.revision}"}} 1\n' in text
    assert "loomd_ready 1\n" in text
    assert "loomd_tasks_running 0\n" in text
    task = (await ask(client.post, "namespaces", "default", "tasks", body={"goal": "slow"}))["id"]
    assert "loomd_tasks_running 1\n" in (await metrics(system)).text
    await ask(client.delete, "namespaces", "default", "tasks", task)
    system.ready = False
    assert "loomd_ready 0\n" in (await metrics(system)).text
    system.settings_error = "no"
    assert "loomd_config_last_reload_successful 0\n" in (await metrics(system)).text
