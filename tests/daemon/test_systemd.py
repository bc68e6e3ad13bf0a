"""The units: what systemd itself says of them, and that they fit the settings that they are shipped with."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from loomd.cli.main import loomd
from loomd.cli.serve import command
from loomd.settings import read_settings

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
UNITS = CONFIGS / "systemd"
UNKNOWN = "Failed to parse service type, ignoring: notify-reload"
"""What systemd before 253 says of the type, for which there is a drop-in."""


@pytest.fixture(scope="module")
def analyze() -> str:
    """Return the path of `systemd-analyze`."""
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed")
    return found


def run(*arguments: str) -> tuple[int, str]:
    """Run a command and return its exit code and all that it said."""
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)  # noqa: S603  # systemd's own tool
    return done.returncode, done.stdout + done.stderr


def version(analyze: str) -> int:
    """Return the version of systemd."""
    return int(re.findall(r"systemd (\d+)", run(analyze, "--version")[1])[0])


def installed(unit: Path, place: Path, *drops: str) -> Path:
    """Copy a unit and drop-ins to where they would be, with a command that is there."""
    copy = place / "loomd.service"
    folder = place / "loomd.service.d"
    folder.mkdir()
    for source, target in [(unit, copy), *((UNITS / name, folder / name) for name in drops)]:
        text = re.sub(r"(?:/usr/local|%h/\.local)/bin/loomd", "/bin/true", source.read_text())
        target.write_text(text)
    return copy


def assigned(path: Path) -> dict[str, str]:
    """Return the last assignment of every name in a unit."""
    lines = [line for line in path.read_text().splitlines() if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("drops", [(), ("listen.conf",), ("sandbox.conf",)], ids=["plain", "listen", "sandbox"])
@pytest.mark.parametrize("scope", ["--system", "--user"])
def test_systemd_finds_nothing_wrong(analyze: str, tmp_path: Path, scope: str, drops: tuple[str, ...]) -> None:
    """`systemd-analyze verify` accepts every unit with every drop-in that it is documented with."""
    old = version(analyze) < 253
    unit = installed(
        UNITS / ("user/loomd.service" if scope == "--user" else "loomd.service"),
        tmp_path,
        *drops,
        *(["before-253.conf"] if old else []),
    )
    _, said = run(analyze, "verify", scope, "--man=no", str(unit))
    lines = [line for line in said.splitlines() if str(tmp_path) in line or "loomd" in line]
    assert [line for line in lines if not (old and UNKNOWN in line)] == []


def test_the_check_can_fail(analyze: str, tmp_path: Path) -> None:
    """A unit with an unknown setting and a command that is not there is noticed by the same check."""
    unit = installed(UNITS / "loomd.service", tmp_path)
    unit.write_text(unit.read_text().replace("UMask=0077", "UMaks=0077").replace("/bin/true", "/bin/loomd-missing"))
    _, said = run(analyze, "verify", "--system", "--man=no", str(unit))
    assert "UMaks" in said
    assert "loomd-missing" in said


def test_the_unit_is_hardened(analyze: str) -> None:
    """What a daemon of a machine is exposed to stays below 1.5 of 10, as systemd counts it."""
    _, said = run(analyze, "security", "--offline=true", "--no-pager", str(UNITS / "loomd.service"))
    found = re.search(r"Overall exposure level for loomd\.service: ([0-9.]+)", said)
    assert found, said
    assert float(found[1]) < 1.5


@pytest.mark.parametrize("path", [UNITS / "loomd.service", UNITS / "user" / "loomd.service", UNITS / "listen.conf"])
def test_the_command_is_one_of_ours(path: Path) -> None:
    """The options in `ExecStart` are options of `loomd serve`."""
    program, verb, *options = shlex.split(assigned(path)["ExecStart"])
    assert program.endswith("/bin/loomd")
    assert verb == "serve"
    command.make_context(verb, options, parent=loomd.make_context("loomd", [verb]))


def test_the_unit_fits_the_settings() -> None:
    """Folders, socket and time-outs of the unit are those of the annotated settings."""
    unit = assigned(UNITS / "loomd.service")
    settings = read_settings(CONFIGS / "loomd.yaml", {}, {})
    assert unit["Type"] == "notify-reload"
    assert settings.state_dir.parent == Path("/var/lib") / unit["StateDirectory"]
    assert settings.models_dir.parent == Path("/var/lib") / unit["StateDirectory"]
    assert settings.socket.parent == Path("/run") / unit["RuntimeDirectory"]
    assert settings.grace < float(unit["TimeoutStopSec"])
    assert settings.socket_mode == "0660"
    assert unit["RuntimeDirectoryMode"] == "0750"
    assert "/etc/loomd/loomd.yaml" in unit["ExecStart"]
    assert Path("/etc/loomd") / "manifests" in settings.watch
    assert unit["ConfigurationDirectory"] == "loomd"
