"""The Kubernetes manifests: what the official schemas say of them, and that what they hand to the daemon is valid."""

import shlex
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from loomd.cli.main import loomd
from loomd.cli.serve import command
from loomd.manifest.load import load
from loomd.manifest.source import SourceFile
from loomd.settings import Settings, parse_address, read_settings

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
FILES: list[str] = KUSTOMIZATION["resources"]


def documents(name: str) -> list[dict[str, Any]]:
    """Return the documents of a file."""
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def container() -> dict[str, Any]:
    """Return the daemon's container."""
    found: dict[str, Any] = documents("deployment.yaml")[0]["spec"]["template"]["spec"]["containers"][0]
    return found


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return the settings that the daemon is given."""
    (tmp_path / "loomd.yaml").write_text(documents("settings.yaml")[0]["data"]["loomd.yaml"])
    return read_settings(tmp_path / "loomd.yaml", {}, {})


@pytest.mark.parametrize("version", ["1.30", "1.32", "1.35"])
@pytest.mark.parametrize("name", FILES)
def test_the_official_schemas_accept_it(name: str, version: str) -> None:
    """Every document is valid for several versions of Kubernetes, with no field that they do not know."""
    for document in documents(name):
        kubernetes_validate.validate(document, version, strict=True)


def test_the_official_schemas_would_refuse() -> None:
    """A misspelt field of the deployment is refused: the schemas are really asked."""
    wrong = documents("deployment.yaml")[0]
    wrong["spec"]["replica"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.32", strict=True)


def test_every_file_is_applied() -> None:
    """`kubectl apply -k` takes every file of the folder."""
    assert sorted(FILES) == sorted(path.name for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")


def test_the_manifests_in_the_config_map_are_valid() -> None:
    """What the ConfigMap holds is a system that loomd accepts."""
    data = documents("manifests.yaml")[0]["data"]
    files = [SourceFile(FOLDER, name, text.encode()) for name, text in data.items()]
    assert {ref.kind for ref in load(files).objects} == {"Provider", "Agent", "Cluster"}


def test_the_settings_fit_what_is_mounted(settings: Settings) -> None:
    """Every path of the settings lies on a volume, and the state on the only one that outlives the pod."""
    mounts = {mount["mountPath"]: mount["name"] for mount in container()["volumeMounts"]}
    token = settings.token.value_from.file if settings.token else ""
    paths = [settings.state_dir, settings.models_dir, settings.socket, Path(token or ""), *settings.watch]
    volumes = [next(name for mount, name in mounts.items() if path.is_relative_to(mount)) for path in paths]
    assert volumes == ["state", "state", "run", "token", "manifests"]
    manifests = [mount for mount in container()["volumeMounts"] if mount["name"] == "manifests"]
    assert "subPath" not in manifests[0], "a file that is mounted by itself never changes"


def test_probes_and_service_ask_where_it_listens(settings: Settings) -> None:
    """The port of the container, of the probes and of the service is the one that the daemon listens on."""
    port = parse_address(settings.listen)[1]
    assert container()["ports"] == [{"name": "api", "containerPort": port}]
    probes = [container()[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")]
    assert [probe["path"] for probe in probes] == ["/livez", "/livez", "/readyz"]
    assert {probe["port"] for probe in probes} == {"api"}
    assert documents("service.yaml")[0]["spec"]["ports"][0]["targetPort"] == "api"


def test_the_pod_outlives_the_grace(settings: Settings) -> None:
    """Running tasks get their grace before the kubelet kills, and never do two daemons hold the state."""
    spec = documents("deployment.yaml")[0]["spec"]
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] > settings.grace
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_the_command_is_one_that_exists() -> None:
    """The arguments are those of `loomd serve`."""
    verb, *options = container()["args"]
    assert verb == "serve"
    parent = loomd.make_context("loomd", [verb])
    command.make_context(verb, shlex.split(" ".join(options)), parent=parent)
