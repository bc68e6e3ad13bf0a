"""`loomd`: finds the verb, runs it, and turns errors into messages and exit codes.

A verb is one file with a click command called `command`; its module is imported only when the verb is used, so that
`loomd --help` and `loomd version` stay quick. Exit codes: 0 done, 1 failed or invalid, 2 usage or input/output,
70 a fault of loomd, 130 interrupted.
"""

import gc
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress

import click

from loomd import __version__
from loomd.cli.problems import render
from loomd.errors import LoomdError, NotFound, Temporary
from loomd.manifest.problem import Problems

VERBS = {
    "init": "Create a folder with a working agent system.",
    "validate": "Check manifests and say everything that is wrong.",
    "schema": "Print the JSON Schema of a kind.",
    "explain": "Explain a kind or a field, for example agent.spec.limits.",
    "run": "Run one task from a folder of manifests, without a daemon.",
    "serve": "Run the daemon.",
    "apply": "Hand manifests to the daemon.",
    "get": "List objects or tasks.",
    "describe": "Show one object or task in full.",
    "submit": "Hand a task to the daemon.",
    "events": "Show what happened, and follow it.",
    "models": "List, fetch, verify and remove the embedded models.",
    "version": "Print the version.",
}


class Verbs(click.Group):
    """A group that imports a verb's module when the verb is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of their first use."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a verb."""
        del ctx
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"loomd.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs with their one-line help without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", message="loomd %(version)s")
def loomd() -> None:
    """The control plane for living agents: YAML manifests in, answered and evaluated tasks out."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and end the process.

    Verbs close what they open, so nothing is left for the interpreter to do; it would wait for a tool that hangs in a
    thread, and look once more at all that start-up made.
    """
    gc.disable()  # start-up allocates much and frees nothing; verbs that stay alive turn it on again
    code = run(argv)
    code = _guard(sys.stdout.flush) or code
    with suppress(OSError):  # nobody is left to tell
        sys.stderr.flush()
    os._exit(code)


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    return _guard(lambda: _verb(sys.argv[1:] if argv is None else argv))


def _verb(arguments: Sequence[str]) -> object:
    for number, text in enumerate(arguments, start=1):
        if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
            raise click.UsageError(
                f"argument {number} is not UTF-8: {text.encode('utf-8', 'backslashreplace').decode()}"
            )
    return loomd.main(args=arguments, prog_name="loomd", standalone_mode=False)


def _guard(act: Callable[[], object]) -> int:
    """Do something and return the exit code; what it raises is said on standard error."""
    try:
        code = act()
    except click.exceptions.Exit as error:
        return error.exit_code
    except SystemExit as error:
        code = error.code
    except BaseException as error:
        return _explain(_first(error))
    return code if isinstance(code, int) else 0


def _first(error: BaseException) -> BaseException:
    """Return the error that a group is about: its first of our own, or else its first."""
    while isinstance(error, BaseExceptionGroup):
        ours, _ = error.split(LoomdError)
        error = (ours or error).exceptions[0]
    return error


def _explain(error: BaseException) -> int:
    """Say what went wrong and return the exit code."""
    match error:
        case click.ClickException():
            error.show()
            return 2
        case click.Abort() | KeyboardInterrupt():
            return _say("interrupted", 130)
        case BrokenPipeError():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader is gone: nothing left to say
            return 0
        case Problems():
            return _say(render(error.problems), 1)
        case LoomdError():
            return _say(f"error: {error}", 2 if isinstance(error, NotFound | Temporary) else 1)
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return _say(f"error: {where}{error.strerror or error}", 2)
        case _:
            if os.environ.get("LOOMD_DEBUG"):
                traceback.print_exception(error)
            return _say(f"internal error: {type(error).__name__}: {error} (LOOMD_DEBUG=1 shows where)", 70)


def _say(text: str, code: int) -> int:
    click.echo(text, err=True)
    return code
