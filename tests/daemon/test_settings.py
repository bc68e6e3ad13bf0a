"""The settings: what is refused, what may change while the daemon runs, and that the example says everything."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from loomd.errors import Conflict, NotFound, Permanent, Unauthorized
from loomd.manifest.kind import Reload
from loomd.manifest.problem import Problems
from loomd.settings import (
    DaemonSpec,
    Settings,
    allowed_packages,
    parse_address,
    read_settings,
    settings_schema,
    settle,
    token_digest,
)

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
EXAMPLE = CONFIGS / "loomd.yaml"
DEFAULTS = {"stateDir": "/s", "modelsDir": "/m", "socket": "/k"}
RESTART = [name for name, info in DaemonSpec.model_fields.items() if Reload("restart") in info.metadata]
OTHERS: dict[str, Any] = {
    "state_dir": "/t",
    "models_dir": "/n",
    "socket": "/l",
    "socket_mode": "0660",
    "listen": "127.0.0.1:1",
    "token": {"valueFrom": {"env": "OTHER"}},
    "limits": {"body": "1Mi"},
    "quiet_window": "1s",
    "history": 7,
    "live_snapshots": 2,
    "drain": "1s",
    "allow_packages": ["acme"],
}
"""Another value for every field that needs a restart."""


def read(folder: Path, text: str, **flags: Any) -> Settings:
    """Read a file of settings."""
    (folder / "loomd.yaml").write_text(text)
    return read_settings(folder / "loomd.yaml", flags, DEFAULTS)


def problems(folder: Path, text: str, **flags: Any) -> list[str]:
    """Return what is wrong with a file of settings, each with line, column and code."""
    with pytest.raises(Problems) as caught:
        read(folder, text, **flags)
    return [f"{one.position.line}:{one.position.column} {one.code} {one.message}" for one in caught.value.problems]


def names(schema: dict[str, Any], whole: dict[str, Any]) -> Iterator[str]:
    """Yield every name of a field in a JSON Schema, nested ones included; a secret is one value."""
    for name, field in schema["properties"].items():
        yield name
        target = str(field.get("$ref", "")).rpartition("/")[2]
        if target and name != "token":
            yield from names(whole["$defs"][target], whole)


def test_the_example_is_valid() -> None:
    """The annotated example can be used as it is, and with everything that is left out in it."""
    settings = read_settings(EXAMPLE, {}, {})
    assert settings.state_dir == Path("/var/lib/loomd/state")
    assert settings.socket_mode == "0660"
    assert settings.listen == ""


def test_the_example_is_complete(tmp_path: Path) -> None:
    """Every field is mentioned, and what is commented out is valid too, with the defaults where there are some."""
    text = re.sub(r"^#(?=\S| {2}\S)", "", EXAMPLE.read_text(), flags=re.MULTILINE)
    settings = read(tmp_path, text)
    schema = settings_schema()
    missing = [name for name in names(schema, schema) if not re.search(rf"^ *{name}:", text, re.MULTILINE)]
    assert missing == []
    assert settings.listen == "127.0.0.1:7600"
    plain = Settings(settings.state_dir, settings.models_dir, settings.socket)
    for name in ("limits", "quiet_window", "history", "retention", "live_snapshots", "drain", "grace", "log"):
        assert getattr(settings, name) == getattr(plain, name), name


def test_the_example_marks_what_is_live() -> None:
    """A field is below a mark [live] exactly when a reload may change it."""
    marked: set[str] = set()
    live = False
    for line in EXAMPLE.read_text().splitlines():
        if line.startswith("# "):
            live = line.startswith("# [live]") or (live and not line.startswith("# ["))
        elif (found := re.match(r"#?([a-zA-Z]+):", line)) and live:
            marked.add(found[1])
        elif not line:
            live = False
    fields = {str(info.alias) for info in DaemonSpec.model_fields.values() if Reload("immediate") in info.metadata}
    assert marked - {"quietWindow"} == fields


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stateDri: /x\n", ["1:1 unknown-field"]),
        ("grace: soon\n", ["1:8"]),
        ("history: 0\nlog: {level: loud}\n", ["1:10", "2:14"]),
        ("listen: 127.0.0.1:7600\n", ["1:9 missing-field"]),
        ("listen: nowhere\ntoken: {valueFrom: {env: T}}\n", ["1:9 invalid-value"]),
        ("token: letmein-letmein-letmein\n", ["1:8"]),
        ("watch: /x\n", ["1:8 wrong-type"]),
        ('watch: [/x, "/a\\nb"]\n', ["1:13 invalid-value"]),
        ("a: 1\n---\nb: 2\n", ["3:1"]),
        ("grace: [\n", ["2:1"]),
        ("socketMode: 0666\n", ["1:13"]),
    ],
    ids=[
        "unknown",
        "duration",
        "two",
        "no-token",
        "address",
        "literal-token",
        "list",
        "two-lines",
        "documents",
        "syntax",
        "mode",
    ],
)
def test_every_problem_has_its_place(tmp_path: Path, text: str, expected: list[str]) -> None:
    """A file that is wrong is refused with all problems, each with line and column."""
    found = problems(tmp_path, text)
    assert len(found) == len(expected)
    for one, wanted in zip(found, expected, strict=True):
        assert one.startswith(wanted), found


def test_a_literal_token_is_not_repeated(tmp_path: Path) -> None:
    """A secret that somebody wrote into the file is refused without being printed."""
    assert "letmein" not in str(problems(tmp_path, "token: letmein-letmein-letmein\n"))


def test_flags_win_and_are_named(tmp_path: Path) -> None:
    """An option of the command line wins over the file, sets single fields of a mapping, and is named when wrong."""
    settings = read(tmp_path, "grace: 1s\nlog: {format: json}\n", grace="2s", log={"level": "debug"})
    assert (settings.grace, settings.log.level, settings.log.format) == (2.0, "debug", "json")
    with pytest.raises(Problems, match=r"\(command line\)"):
        read(tmp_path, "grace: 1s\n", grace="soon")


def test_relative_paths_start_from_the_file(tmp_path: Path) -> None:
    """Paths in the file do not depend on where the daemon was started."""
    settings = read(tmp_path, "stateDir: state\nwatch: [a, /b, a]\ntoken: {valueFrom: {file: token}}\n")
    assert settings.state_dir == tmp_path / "state"
    assert settings.watch == (tmp_path / "a", Path("/b"))
    assert settings.token is not None
    assert settings.token.value_from.file == str(tmp_path / "token")


def test_allowed_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file says which packages are allowed; without it the variable does."""
    assert read(tmp_path, "allowPackages: [acme_tools, a.b]\n").allow_packages == ("acme_tools", "a.b")
    monkeypatch.setenv("LOOMD_ALLOW_PACKAGES", " acme_tools,,a.b ")
    assert allowed_packages() == ("acme_tools", "a.b")
    assert Settings(tmp_path, tmp_path, tmp_path).allow_packages == ("acme_tools", "a.b")
    with pytest.raises(Problems, match="allowPackages"):
        read(tmp_path, "allowPackages: [acme tools]\n")


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    """A file that is named and is not there ends the start; an empty one says nothing."""
    with pytest.raises(NotFound, match="no such file"):
        read_settings(tmp_path / "none.yaml", {}, DEFAULTS)
    assert read(tmp_path, "").state_dir == Path("/s")


@pytest.mark.parametrize("name", RESTART)
def test_what_needs_a_restart_refuses_the_reload(tmp_path: Path, name: str) -> None:
    """Every field that cannot change live refuses the whole reload, naming itself, the old and the new value."""
    old = read(tmp_path, "token: {valueFrom: {env: TOKEN}}\n")
    alias = str(DaemonSpec.model_fields[name].alias)
    changed = {"token": {"valueFrom": {"env": "TOKEN"}}, "grace": "1h", alias: OTHERS[name]}
    new = read(tmp_path, yaml.safe_dump(changed))
    with pytest.raises(Conflict) as caught:
        settle(old, new)
    text = str(caught.value)
    assert f"{alias} is " in text
    assert "the file says " in text
    assert "restart" in text
    assert "grace" not in text
    settle(old, old)


def test_several_fields_are_named_at_once(tmp_path: Path) -> None:
    """All fields that stand in the way are told, not the first."""
    with pytest.raises(Conflict, match=r"history is 100, the file says 3; .*drain is 30s, the file says 1s"):
        settle(read(tmp_path, ""), read(tmp_path, "history: 3\ndrain: 1s\n"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:7600", ("127.0.0.1", 7600)),
        ("[::1]:0", ("::1", 0)),
        ("loomd.example:1", ("loomd.example", 1)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    """An address is host and port."""
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text", ["7600", ":7600", "127.0.0.1", "a:b", "a:99999", "u@h:1", "h:1/x", "http://h:1", "::1:5"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="expected host:port"):
        parse_address(text)


def test_the_token_is_kept_as_a_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is at least 16 characters, is read where the settings say, and is not kept itself."""
    text = "listen: 127.0.0.1:0\ntoken: {valueFrom: {env: LOOMD_TEST_TOKEN}}\n"
    with pytest.raises(Unauthorized, match="LOOMD_TEST_TOKEN is not set"):
        token_digest(read(tmp_path, text))
    monkeypatch.setenv("LOOMD_TEST_TOKEN", "short")
    with pytest.raises(Permanent, match="at least 16 characters, got 5"):
        token_digest(read(tmp_path, text))
    monkeypatch.setenv("LOOMD_TEST_TOKEN", "long enough to be a secret")
    digest = token_digest(read(tmp_path, text))
    assert len(digest) == 32
    assert token_digest(read(tmp_path, "")) == b""
