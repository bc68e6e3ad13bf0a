"""edit at a real daemon and a real terminal: scripts for editors, and vi in tmux."""

import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.terminal import Folder, Screen, Terminal
from tests.daemon.process import Daemon

Editor = Callable[[str], str]


@pytest.fixture
def team(folder: Folder) -> Folder:
    """Return the folder, applied."""
    folder.apply()
    return folder


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder where texts are edited."""
    path = tmp_path / "scratch"
    path.mkdir()
    monkeypatch.setitem(daemon.environment, "TMPDIR", str(path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it remembers the folder of another test
    return path


@pytest.fixture
def editor(tmp_path: Path) -> Editor:
    """Return what makes an editor of a shell script; `$1` is the file, and `$N` says how often it was called."""

    def make(script: str) -> str:
        path, count = tmp_path / "editor", tmp_path / "count"
        path.write_text(
            f"#!/bin/sh\nN=$(cat {count} 2>/dev/null || echo 0)\nN=$((N + 1))\necho $N > {count}\n"
            f'cp "$1" {tmp_path}/seen.$N\n{script}\n'
        )
        path.chmod(0o755)
        return str(path)

    return make


def seen(folder: Folder, number: int = 1) -> str:
    """Return what the editor was shown the first or another time."""
    return (folder.path.parent / f"seen.{number}").read_text()


def test_what_is_saved_serves(team: Folder, editor: Editor, scratch: Path) -> None:
    """The text comes with its comments and goes back with them; the notes are no part of it; nothing is left behind."""
    edit = editor("""sed -i 's/answers everything/answers all/' "$1" """)
    told = team.said("edit", "agent/ada", "-n", team.space, EDITOR=edit)
    assert told == f"Agent/{team.space}/ada changed: spec.description\n"
    assert seen(team).startswith(f"#> Agent/{team.space}/ada, generation 1.\n#> Save and leave")
    assert "#> " not in seen(team).partition("# Ada answers\n")[2]
    assert "labels: {team: docs}  # hers\n" in seen(team)
    assert team.description() == "answers all"
    team.said("edit", "agent", "ada", "-n", team.space, EDITOR=editor("true"))
    assert "labels: {team: docs}  # hers\n" in seen(team, 2)
    assert list(scratch.iterdir()) == []


def test_what_stands_beside_it_stays_as_it_was(team: Folder, editor: Editor) -> None:
    """Another object of the same file keeps its comments and its lines."""
    team.said("edit", "agent/ada", "-n", team.space, EDITOR=editor("""sed -i 's/everything/all/' "$1" """))
    team.said("edit", "provider/script", "-n", team.space, EDITOR=editor("true"))
    assert "# who thinks\n" in seen(team, 2)
    assert "team.yaml:25:1" in team.said("get", "cluster", "team", "-n", team.space, "-o", "wide")


def test_what_is_wrong_is_shown_on_top_and_mended(team: Folder, editor: Editor) -> None:
    """The editor opens again with the problems, by the lines that it shows, until the text is right."""
    edit = editor(
        """if [ $N = 1 ]; then sed -i 's/provider: script/provider: 7/; s/  description: /  descripton: /' "$1"
        else sed -i 's/provider: 7/provider: script/; s/descripton: .*/description: mended/' "$1"; fi"""
    )
    assert "changed: spec.description" in team.said("edit", "agent/ada", "-n", team.space, EDITOR=edit)
    assert team.description() == "mended"
    again = seen(team, 2).splitlines()
    notes = [line for line in again if line.startswith("#> - ")]
    assert len(notes) == 2
    for note, word in zip(notes, ("provider: 7", "descripton:"), strict=True):
        number = int(note.split("line ")[1].split(",")[0])
        assert word in again[number - 1]
    assert 'did you mean "description"?' in notes[1]


@pytest.mark.parametrize(
    "second",
    ["true", """: > "$1" """, """sed -i 's/provider: 7/provider: script/' "$1" """],
    ids=["unchanged", "emptied", "taken-back"],
)
def test_a_text_that_stays_wrong_is_kept(second: str, team: Folder, editor: Editor, scratch: Path) -> None:
    """Not mended the second time, the edit ends with 1, says why, and where the text that was refused is."""
    edit = editor(f"""[ $N = 1 ] && sed -i 's/provider: script/provider: 7/' "$1" || {second}""")
    ran = team.loomd("edit", "agent/ada", "-n", team.space, EDITOR=f"sh -c '{edit} \"$0\" || true'")
    assert ran.returncode == 1
    kept = next(scratch.rglob("agent-ada.yaml"))
    assert f"your text is kept in {kept}" in ran.stderr
    assert "provider: 7" in kept.read_text()
    assert "spec.provider: expected" in ran.stderr
    assert team.description() == "answers everything"


@pytest.mark.parametrize(
    "script",
    ["true", """: > "$1" """, """printf '\\n\\n' > "$1" """, """sed -i '/^#> /d' "$1" """],
    ids=["unchanged", "empty", "blank", "without-notes"],
)
def test_nothing_changed_is_no_change(script: str, team: Folder, editor: Editor, scratch: Path) -> None:
    """A text as it was, or an empty one, ends the edit with 0."""
    before = team.position()
    assert (
        team.said("edit", "agent/ada", "-n", team.space, EDITOR=editor(script))
        == "edit cancelled: nothing was changed\n"
    )
    assert team.position() == before
    assert list(scratch.iterdir()) == []


def test_only_a_comment_changes_no_object(team: Folder, editor: Editor) -> None:
    """A new comment is kept with the text, and the object is unchanged."""
    told = team.said("edit", "agent/ada", "-n", team.space, EDITOR=editor("""sed -i 's/# Ada/# Dear Ada/' "$1" """))
    assert told == f"Agent/{team.space}/ada unchanged\n"
    team.said("edit", "agent/ada", "-n", team.space, EDITOR=editor("true"))
    assert "# Dear Ada answers\n" in seen(team, 2)


def test_what_moved_meanwhile_is_not_overwritten(team: Folder, editor: Editor, scratch: Path) -> None:
    """Somebody else's change wins; the text is kept."""
    team.change("answers everything", "answers all")
    command = f"{shlex.quote(sys.executable)} -m loomd apply -f {team.path} >/dev/null"
    edit = editor(f"""{command}; sed -i 's/Answer briefly/Answer well/' "$1" """)
    ran = team.loomd("edit", "agent/ada", "-n", team.space, EDITOR=edit)
    assert ran.returncode == 1
    assert "/ada was changed by somebody else meanwhile: loomd edit shows what serves now" in ran.stderr
    assert "Answer well" in next(scratch.rglob("agent-ada.yaml")).read_text()
    assert team.description() == "answers all"


@pytest.mark.parametrize(
    ("variables", "chosen"),
    [
        ({"LOOMD_EDITOR": "1", "VISUAL": "2", "EDITOR": "3"}, "1"),
        ({"LOOMD_EDITOR": " ", "VISUAL": "2", "EDITOR": "3"}, "2"),
        ({"VISUAL": "", "EDITOR": "3"}, "3"),
    ],
    ids=["own", "visual", "editor"],
)
def test_which_editor_is_taken(variables: dict[str, str], chosen: str, team: Folder, tmp_path: Path) -> None:
    """The first of $LOOMD_EDITOR, $VISUAL and $EDITOR that says something; it may have arguments."""
    said = {
        name: f"sh -c 'echo {text} > {tmp_path}/chosen'" if text.strip() else text for name, text in variables.items()
    }
    none = dict.fromkeys(("LOOMD_EDITOR", "VISUAL", "EDITOR"), "")
    team.said("edit", "agent/ada", "-n", team.space, **(none | said))
    assert (tmp_path / "chosen").read_text().strip() == chosen


@pytest.mark.parametrize(
    ("editor_says", "code", "says"),
    [
        pytest.param("false", 1, "the editor false ended with code 1: nothing was changed", id="fails"),
        pytest.param("no-such-editor", 2, "set one of $LOOMD_EDITOR, $VISUAL, $EDITOR", id="missing"),
        pytest.param("sh -c 'rm \"$0\"'", 1, "what the editor left cannot be read", id="removes-it"),
        pytest.param('sh -c \'printf "\\377" > "$0"\'', 1, "what the editor left cannot be read", id="no-text"),
        pytest.param("vi 'x", 1, "cannot be understood", id="no-command"),
    ],
)
def test_an_editor_that_fails(editor_says: str, code: int, says: str, team: Folder) -> None:
    """Whatever goes wrong with it is said, and nothing is changed."""
    before = team.position()
    ran = team.loomd("edit", "agent/ada", "-n", team.space, EDITOR=editor_says)
    assert ran.returncode == code
    assert says in ran.stderr
    assert team.position() == before


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        pytest.param(["agent", "adda"], 2, 'did you mean "ada"?', id="name"),
        pytest.param(["agents"], 2, "expected one object: loomd edit KIND/NAME", id="no-name"),
        pytest.param(["agent/ada", "provider/script"], 2, "expected one object", id="several"),
        pytest.param(["task", "t1"], 2, "expected one object", id="task"),
        pytest.param(["source", "x"], 2, "expected one object", id="source"),
    ],
)
def test_what_cannot_be_edited(arguments: list[str], code: int, says: str, team: Folder) -> None:
    """Only one object that is there."""
    ran = team.loomd("edit", *arguments, "-n", team.space, EDITOR="true")
    assert ran.returncode == code
    assert says in ran.stderr


def test_what_is_implied_cannot_be_edited(folder: Folder) -> None:
    """The cluster that nobody declares has no text."""
    path = folder.path / "team.yaml"
    path.write_text(path.read_text().rpartition("---\n")[0])
    folder.apply()
    ran = folder.loomd("edit", "cluster/default", "-n", folder.space, EDITOR="true")
    assert ran.returncode == 1
    assert "/default is implied and has no text: declare a Cluster to change it" in ran.stderr


def test_another_name_is_another_object(team: Folder, editor: Editor) -> None:
    """Kind, name and namespace cannot be changed: that is said on top of the text."""
    edit = editor("""[ $N = 1 ] && sed -i 's/name: ada/name: eve/' "$1" || true""")
    ran = team.loomd("edit", "agent/ada", "-n", team.space, EDITOR=edit)
    assert ran.returncode == 1
    assert "kind, name and namespace cannot be changed" in ran.stderr
    assert "#> - expected Agent/" in seen(team, 2)


def test_ctrl_c_in_the_editor_is_for_the_editor(team: Folder, editor: Editor) -> None:
    """While the editor runs, an interrupt ends neither it nor the verb, as at every other tool that opens one."""
    wait = "while [ -z $told ]; do sleep 0.1 || true; done"
    edit = editor(f"""trap 'told=1' INT; echo ready; {wait}; sed -i 's/everything/all/' "$1" """)
    terminal = Terminal(team, "edit", "agent/ada", "-n", team.space, EDITOR=edit)
    terminal.until("ready")
    terminal.press("\x03")
    terminal.until("spec.description")
    assert terminal.end() == 0
    assert team.description() == "answers all"


@pytest.mark.skipif(shutil.which("vi") is None, reason="needs vi")
def test_with_vi_in_tmux(team: Folder, screen: Screen) -> None:
    """A person at a terminal: vi opens, shows the object, and what is written serves."""
    screen.start(team, "edit", "agent/ada", "-n", team.space, EDITOR="vi -u NONE")
    screen.until("description: answers everything")
    screen.type(":%s/everything/all/", "Enter")
    screen.until("description: answers all")
    screen.type(":wq", "Enter")
    screen.until("ended with 0")
    assert team.description() == "answers all"
