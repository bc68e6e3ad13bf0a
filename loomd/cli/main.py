"""`loomd`: finds the verb, runs it, and turns errors into messages and exit codes.

A verb is one file with a click command called `command`; its module is imported only when the verb is used, so that
`loomd --help` and `loomd version` stay quick. Exit codes: 0 done, 1 failed or invalid, 2 usage or input/output,
130 interrupted.
"""

import gc
import importlib
import os
import sys
from collections.abc import Sequence

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
    """Run the command line and exit the process."""
    gc.disable()  # start-up allocates much and frees nothing; verbs that stay alive turn it on again
    code = run(argv)
    gc.freeze()  # the interpreter's last collection would walk all that start-up made, and free nothing of it early
    sys.exit(code)


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    try:
        code = loomd.main(args=argv, prog_name="loomd", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader is gone: nothing left to say
        return 0
    except Problems as error:
        click.echo(render(error.problems), err=True)
        return 1
    except LoomdError as error:
        click.echo(f"error: {error}", err=True)
        return 2 if isinstance(error, NotFound | Temporary) else 1
    return code if isinstance(code, int) else 0
