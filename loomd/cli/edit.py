"""`loomd edit`: an object in the editor; what comes back is checked as any other change, and taken or refused."""

import os
import shlex
import shutil
import tempfile
from pathlib import Path

import click

from loomd.api.client import Client, Json
from loomd.cli.change import effective, line, warn
from loomd.cli.editor import edit, read
from loomd.cli.output import name_of
from loomd.cli.target import (
    EVERY,
    MEMORY_ITEMS,
    REVISIONS,
    SESSIONS,
    SOURCES,
    TASKS,
    get_one,
    namespace_option,
    socket_option,
    wanted,
)
from loomd.errors import Conflict, LoomdError, NotFound, Permanent
from loomd.manifest.problem import Problem, Problems

MANAGER = "edit"
"""Who acts, for the managed fields."""


_NO_OBJECTS = frozenset((EVERY, MEMORY_ITEMS, REVISIONS, SESSIONS, SOURCES, TASKS))


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME | KIND NAME")
@namespace_option
@socket_option
def command(what: tuple[str, ...], namespace: str, client: Client) -> int:
    """Open an object in your editor ($LOOMD_EDITOR, $VISUAL or $EDITOR) and let what you save serve.

    What is wrong is shown on top of the text, in the editor again. A text that is left as it is, or empty, changes
    nothing. What a followed folder or repository declares is changed there.

    Exit code 0: it serves, or nothing was changed; 1: refused, and your text is kept.
    """
    asked = wanted(client, what, namespace)
    if len(asked) != 1 or len(asked[0].names) != 1 or asked[0].place in _NO_OBJECTS:
        raise click.UsageError("expected one object: loomd edit KIND/NAME")
    place, name = asked[0].place, asked[0].names[0]
    namespace = asked[0].namespace
    found = get_one(client, place, namespace, name, full="1")
    _require_own(client, found)
    folder = Path(tempfile.mkdtemp(prefix="loomd-edit-"))
    file = folder / f"{place.kind.lower()}-{name}.yaml"
    try:
        _converse(client, found, (*place.parts(namespace), name), file)
    except (LoomdError, KeyboardInterrupt):
        if file.exists() and read(file) != found["text"]:
            click.echo(f"your text is kept in {file}", err=True)
        else:
            shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)
    return 0


def _require_own(client: Client, found: Json) -> None:
    """Refuse an object that is changed elsewhere.

    Raises:
        Conflict: saying where.
    """
    status, name = found["status"], name_of(found)
    if not found["text"]:
        raise Conflict(f"{name} is implied and has no text: declare a {found['kind']} to change it")
    try:
        source = client.get(*SOURCES.parts(None), status["source"])
    except NotFound:
        return  # nothing that could deliver it again
    if source["spec"]["type"] != "apply" and not source["spec"]["suspended"]:
        where = status["position"]
        raise Conflict(
            f"{name} is declared at {where}, which is followed: change it there, "
            f"or first loomd suspend {shlex.quote(status['source'])}"
        )


def _converse(client: Client, found: Json, parts: tuple[str, ...], file: Path) -> None:
    """Let a person edit an object until it serves, or until they leave it.

    Raises:
        LoomdError: it was refused, and they had no more to say.
    """
    before = found["text"]
    text, wrong = before, None
    version = found["metadata"]["resourceVersion"]
    while True:
        last, text = text, edit(text, _notes(found, wrong), file, os.environ)
        gone = not text.strip() or text == before
        if wrong is not None and (gone or text == last):
            file.write_text(last, encoding="utf-8")  # what was refused is not lost, also when it was taken back
            raise wrong
        if gone:
            click.echo("edit cancelled: nothing was changed")
            return
        try:
            plan = client.put(*parts, body={"text": text}, version=version, manager=MANAGER)
        except Conflict as error:
            if client.get(*parts)["metadata"]["resourceVersion"] == version:
                raise
            name = name_of(found)
            raise Conflict(
                f"{name} was changed by somebody else meanwhile: loomd edit shows what serves now"
            ) from error
        except Permanent as error:
            wrong = error
            continue
        for change in effective(plan):
            click.echo(line(change))
        if not effective(plan):
            click.echo(f"{name_of(found)} unchanged")
        warn(plan)
        return


def _notes(found: Json, wrong: Permanent | None) -> str:
    """Return what stands above the text: what to do, and what is wrong with it, by its lines in the editor."""
    lines = [
        f"{name_of(found)}, generation {found['metadata']['generation']}.",
        "Save and leave to let it serve. Left as it is, or empty, nothing is changed. These lines go away.",
    ]
    if wrong is None:
        return "\n".join(lines)
    lines += ["", "It was not taken:"]
    problems = wrong.problems if isinstance(wrong, Problems) else ()
    above = len(lines) + max(len(problems), len(str(wrong).splitlines()) if not problems else 0)
    lines += [_note(one, above) for one in problems] or [f"- {text}" for text in str(wrong).splitlines()]
    return "\n".join(lines)


def _note(problem: Problem, above: int) -> str:
    """Return a problem on one line; its place counts the lines above the text."""
    at = problem.position
    where = f"line {at.line + above}, column {at.column}: " if at.line and "(edit)" in at.file else f"{at}: "
    hint = f" ({problem.hint})" if problem.hint else ""
    return " ".join(f"- {where}{problem.message}{hint}".split())
