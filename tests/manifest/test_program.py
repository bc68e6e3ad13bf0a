"""Programs and packages that manifests name: what can be told of them without running or importing anything."""

import ast
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from loomd.cli.main import run
from loomd.manifest.load import load
from loomd.manifest.problem import Problem
from loomd.manifest.python_file import MAX_FILE, parse
from loomd.manifest.source import SourceFile
from loomd.tools import package as looked_at

HEAD = "apiVersion: loomd.dev/v1\nkind: KIND\nmetadata: {name: it}\nspec:\n"


def warnings(root: Path, spec: str, kind: str = "Tool") -> list[Problem]:
    """Return what should be looked at in an object of a spec."""
    text = HEAD.replace("KIND", kind) + f"  {spec}\n"
    return list(load([SourceFile(root, "it.yaml", text.encode())]).warnings)


@pytest.mark.parametrize(
    ("kind", "spec", "pointer"),
    [
        pytest.param("Tool", "{type: shell, command: [NAME, x]}", "/spec/command/0", id="a command"),
        pytest.param("Tool", "{type: mcp, command: NAME}", "/spec/command", id="a server"),
        pytest.param("Interceptor", "{type: command, at: [beforeTool], argv: [NAME]}", "/spec/argv/0", id="a hook"),
    ],
)
def test_a_program_that_is_not_here_is_a_warning(tmp_path: Path, kind: str, spec: str, pointer: str) -> None:
    """A program that is not on this machine is told where it stands; one that is there is not."""
    [found] = warnings(tmp_path, spec.replace("NAME", "nosuch-program-xyz"), kind)
    assert (found.code, found.severity, found.pointer) == ("missing-program", "warning", pointer)
    assert found.message.endswith('got "nosuch-program-xyz", which is not on the PATH of this machine') or (
        "in /usr/local/sbin:" in found.message
    )
    assert found.position.line == 5
    assert "install it where the daemon runs" in found.hint
    assert warnings(tmp_path, spec.replace("NAME", "sh"), kind) == []


def test_an_absolute_path(tmp_path: Path) -> None:
    """A path that leads nowhere, or to what may not be run, is told."""
    file = tmp_path / "plain"
    file.write_text("x", "utf-8")
    [away] = warnings(tmp_path, "{type: shell, command: [/nosuch/program]}")
    [plain] = warnings(tmp_path, f"{{type: shell, command: [{file}]}}")
    assert "which is not there" in away.message
    assert "chmod +x" in plain.hint
    assert warnings(tmp_path, f"{{type: shell, command: [{sys.executable}]}}") == []


def test_a_program_that_goes_is_told_at_the_next_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings are part of what a load found: with one that is mended the snapshot has none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    spec = "{type: command, at: [beforeTool], argv: [my-hook]}"
    assert len(warnings(tmp_path, spec, "Interceptor")) == 1
    (tmp_path / "my-hook").write_text("#!/bin/sh\n", "utf-8")
    (tmp_path / "my-hook").chmod(0o755)
    assert warnings(tmp_path, spec, "Interceptor") == []


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root beside a folder with an installed package that must not be imported."""
    inside = tmp_path / "site" / "acme_tools_xyz"
    inside.mkdir(parents=True)
    stop = "raise SystemExit('it was imported')\n"
    (inside / "__init__.py").write_text(f"from .billing import charge\n{stop}", "utf-8")
    (inside / "billing.py").write_text(
        f"def charge(cents: int) -> int:\n    '''Charge.'''\n    return 1\n{stop}", "utf-8"
    )
    (inside / "lazy.py").write_text("def __getattr__(name): ...\n", "utf-8")
    (inside / "moves.py").write_text(f"import sys\nsys.modules[__name__ + '.deep'] = sys\n{stop}", "utf-8")
    (inside / "large.py").write_text(f"def send(): ...\n#{'x' * MAX_FILE}\n{stop}", "utf-8")
    below = tmp_path / "site" / "acme_space_xyz" / "cloud" / "post"  # folders without a file of their own
    below.mkdir(parents=True)
    (below / "mail.py").write_text(f"def send(): ...\n{stop}", "utf-8")
    with ZipFile(tmp_path / "site.zip", "w") as archive:
        archive.writestr("acme_zip_xyz/__init__.py", stop)
        archive.writestr("acme_zip_xyz/mail.py", f"def send(): ...\n{stop}")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.syspath_prepend(str(tmp_path / "site.zip"))
    return tmp_path


@pytest.mark.parametrize(
    ("package", "function", "said"),
    [
        ("acme_tools_xyz.billing", "charge", ""),
        ("acme_tools_xyz", "charge", ""),
        ("acme_tools_xyz.lazy", "anything", ""),
        ("math", "sqrt", ""),
        ("os.path", "join", ""),
        ("acme_tools_xyz.moves.deep", "anything", ""),
        ("acme_tools_xyz.large", "anything", ""),
        ("acme_space_xyz.cloud.post.mail", "send", ""),
        ("acme_space_xyz.cloud.post.mail", "sned", 'got "sned"'),
        ("acme_zip_xyz.mail", "send", ""),
        ("acme_zip_xyz.mail", "sned", 'got "sned"'),
        ("acme_zip_xyz.post", "send", 'there is no "acme_zip_xyz.post"'),
        ("acme_tools_xyz.billing", "chrge", 'got "chrge"'),
        ("acme_tools_xyz.shipping", "send", 'there is no "acme_tools_xyz.shipping"'),
        ("acme_tools_xyz.billing.deep", "send", 'there is no "acme_tools_xyz.billing.deep"'),
        ("nosuch_xyz.a.b", "send", 'there is no "nosuch_xyz"'),
    ],
)
def test_a_package_is_looked_at_and_never_imported(packages: Path, package: str, function: str, said: str) -> None:
    """A package that is not installed, or has no such function, is a warning; whatever may be there is none."""
    found = warnings(packages, f"{{type: python, package: {package}, function: {function}, description: x}}")
    assert [(one.code, one.severity) for one in found] == ([("missing-package", "warning")] if said else [])
    assert all(said in f"{one.message} {one.hint}" for one in found)
    assert not [name for name in sys.modules if name.startswith("acme_")]


def test_a_package_of_many_tools_is_parsed_once(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To parse a large one takes half a second: not for each of its functions."""
    parsed: list[bytes] = []

    def counted(source: bytes, path: Path) -> ast.Module:
        parsed.append(source)
        return parse(source, path)

    monkeypatch.setattr(looked_at, "parse", counted)
    (packages / "site" / "acme_tools_xyz" / "many.py").write_text("def f0(): ...\n", "utf-8")
    told = [list(looked_at.package_faults("acme_tools_xyz.many", f"f{number}")) for number in range(5)]
    assert [len(one) for one in told] == [0, 1, 1, 1, 1]
    assert len(parsed) == 1


def test_validate_tells_them_beside_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`loomd validate` shows the warnings with the errors of the same round, and with --strict exits with 3."""
    path = tmp_path / "it.yaml"
    text = HEAD.replace("KIND", "Interceptor") + "  {type: command, at: [beforeTool], argv: [nosuch-program-xyz]}\n"
    path.write_text(text + "---\n" + HEAD.replace("KIND", "Tool") + "  {type: wait, colour: red}\n", "utf-8")
    assert run(["validate", str(path)]) == 1
    shown = capsys.readouterr().out
    assert "warning[missing-program]" in shown
    assert "error[unknown-field]" in shown
    path.write_text(text, "utf-8")
    assert run(["validate", "--strict", str(path)]) == 3
