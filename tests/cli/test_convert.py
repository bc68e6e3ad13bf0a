"""`loomd convert`: prints or rewrites manifests of an old version, and touches nothing else."""

import io
import os
import stat
from pathlib import Path

import pytest

from loomd.cli.main import run

PROVIDER = "apiVersion: loomd.dev/v1\nkind: Provider\nmetadata: {name: p}\nspec: {type: openai, model: m}\n"
OLD = """\
# hers
apiVersion: loomd.dev/v1alpha1
kind: Agent
metadata: {name: a}
spec:
  provider: p
  maxSteps: 3 # few
"""
NEW = OLD.replace("alpha1", "").replace("  maxSteps: 3", "  limits:\n    steps: 3")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a manifest of today and one of the old version, which is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "a.yaml").write_text(OLD)
    (tmp_path / "p.yaml").write_text(PROVIDER)
    return tmp_path


def convert(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the verb and return exit code, standard output and standard error."""
    code = run(["convert", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_file_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The manifests are printed in the form of today; the file stays as it is."""
    assert convert(capsys, "-f", "agents/a.yaml", "-o", "yaml") == (0, NEW, "")
    assert (folder / "agents" / "a.yaml").read_text() == OLD


def test_a_folder_is_printed_as_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All manifests of a folder are printed, old and new, so that the whole can be applied."""
    code, out, err = convert(capsys, "-f", ".")
    assert (code, out, err) == (0, f"{NEW}---\n{PROVIDER}", "")
    (folder / "all.yaml").write_text(out)
    assert run(["validate", "--strict", "all.yaml"]) == 0


def test_standard_input(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` is converted; it cannot be rewritten in place."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(OLD.encode())))
    assert convert(capsys, "-f", "-") == (0, NEW, "")
    code, out, err = convert(capsys, "-f", "-", "--write")
    assert (code, out) == (2, "")
    assert "--write rewrites files: give -f FILE" in err
    del folder


def test_files_are_rewritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--write changes the old files in one step each, says what it did, and keeps permissions and links."""
    place = folder / "agents" / "a.yaml"
    place.chmod(0o640)
    (folder / "link.yaml").symlink_to("agents/a.yaml")
    before = (folder / "p.yaml").stat()
    said = "agents/a.yaml: Agent/a loomd.dev/v1alpha1 -> loomd.dev/v1\n"
    assert convert(capsys, "-f", ".", "--write") == (0, said, "")
    assert place.read_text() == NEW
    assert stat.S_IMODE(place.stat().st_mode) == 0o640
    assert (folder / "link.yaml").is_symlink()
    assert (folder / "p.yaml").stat() == before
    assert sorted(path.name for path in folder.rglob("*")) == ["a.yaml", "agents", "link.yaml", "p.yaml"]
    assert convert(capsys, "-f", ".", "--write") == (0, "", "nothing to convert\n")
    (folder / "link.yaml").unlink()
    assert run(["validate", "--strict", "."]) == 0


def test_a_link_is_written_through(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is named by a link is rewritten where it is."""
    (folder / "link.yaml").symlink_to("agents/a.yaml")
    assert convert(capsys, "-f", "link.yaml", "--write")[0] == 0
    assert (folder / "link.yaml").is_symlink()
    assert (folder / "agents" / "a.yaml").read_text() == NEW


def test_one_bad_file_keeps_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """When a file cannot be converted, all that is wrong is told and no file is written."""
    (folder / "bad.yaml").write_text(OLD.replace("maxSteps: 3", "timeoutSeconds: soon"))
    (folder / "worse.yaml").write_text("a: [")
    code, out, err = convert(capsys, "-f", ".", "--write")
    assert (code, out) == (1, "")
    assert "bad.yaml:7:19: error[wrong-type]: Agent/a spec.timeoutSeconds: expected a number of seconds" in err
    assert "worse.yaml:1:5: error[yaml-syntax]" in err
    assert (folder / "agents" / "a.yaml").read_text() == OLD


def test_what_cannot_be_written_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that takes no file leaves the manifest as it was, and no rest beside it."""
    if os.geteuid() == 0:
        (folder / "agents" / f".a.yaml.{os.getpid()}.new").mkdir()  # root may write anywhere: the place is taken
    else:
        (folder / "agents").chmod(0o500)
    code, out, err = convert(capsys, "-f", "agents", "--write")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert (folder / "agents" / "a.yaml").read_text() == OLD


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param([], "Missing option '-f'", id="nothing"),
        pytest.param(["-f", "absent"], "absent: no such file or folder", id="absent"),
        pytest.param(["-f", "empty"], "no manifests (*.yaml, *.yml) below empty", id="empty"),
        pytest.param(["-f", ".", "-o", "json"], "'json' is not 'yaml'", id="form"),
    ],
)
def test_usage(folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    """What is missing is said, with exit code 2."""
    (folder / "empty").mkdir()
    code, out, err = convert(capsys, *arguments)
    assert (code, out) == (2, "")
    assert says in err


def test_all_that_is_wrong_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What keeps a file from being converted is told with all else that is wrong in it, each once."""
    wrong = OLD.replace("maxSteps: 3 # few", "limits: {steps: 3}\n  foo: 1\n  temperature: hot")
    (folder / "agents" / "a.yaml").write_text(wrong)
    code, out, err = convert(capsys, "-f", "agents/a.yaml", "--write")
    assert (code, out) == (1, "")
    assert [err.count(f" spec.{field}: ") for field in ("limits", "foo", "temperature")] == [1, 1, 1]
    assert "spec.provider" not in err
