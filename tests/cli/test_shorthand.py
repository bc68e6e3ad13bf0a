"""What people see of objects that a reference stands for."""

from tests.cli.terminal import Folder

MORE = """
---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: main, namespace: SPACE}
spec: {type: openai, model: small, baseUrl: "http://127.0.0.1:9/v1"}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: bob, namespace: SPACE}
spec: {provider: main/large}
"""


def test_an_implied_provider_is_seen_like_any_other(folder: Folder) -> None:
    """It is planned, listed and described, and goes with its last user."""
    folder.write("more.yaml", MORE)
    planned = folder.loomd("plan", "-f", "manifests").stdout
    assert f"  + Provider/{folder.space}/main-large created" in planned.splitlines()
    folder.apply()
    assert folder.loomd("plan", "-f", "manifests").returncode == 0
    listed = folder.said("get", "providers", "-n", folder.space)
    assert [line.split()[0] for line in listed.splitlines()[1:]] == ["main", "main-large", "script"]
    said = folder.said("describe", "provider/main-large", "-n", folder.space)
    assert "large" in said
    folder.change("main/large", "main", "more.yaml")
    assert f"Provider/{folder.space}/main-large deleted" in folder.apply()


def test_what_others_mean_stays(folder: Folder) -> None:
    """A provider whose other model is meant is not deleted under it."""
    folder.write("more.yaml", MORE)
    folder.apply()
    ran = folder.loomd("delete", "provider/main", "-n", folder.space)
    assert ran.returncode == 1
    assert "main" in ran.stderr
    assert "main-large" in folder.said("get", "providers", "-n", folder.space)
