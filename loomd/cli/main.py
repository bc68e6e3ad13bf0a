"""`loomd`: finds the verb, runs it, and turns errors into messages and exit codes.

A verb is one file with a click command called `command`; its module is imported only when the verb is used, so that
`loomd --help` and `loomd version` stay quick. Exit codes: 0 done, 1 failed or invalid, 2 usage or input/output,
70 a fault of loomd, 130 interrupted; verbs that look give 1 a meaning of their own, and 141 says that nobody read it.
"""

import gc
import importlib
import os
import select
import signal
import stat
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import TextIOWrapper

import click
from click.shell_completion import CompletionItem

from loomd import __version__
from loomd.cli.problems import render
from loomd.errors import LoomdError, NotFound, Temporary
from loomd.manifest.installed import may_bring
from loomd.manifest.problem import Problems
from loomd.manifest.wording import did_you_mean

_PLUGINS = "PYDANTIC_DISABLE_PLUGINS"
"""Variable by which pydantic is told not to look for plugins among the packages that are installed."""

VERBS = {
    "init": "Create a folder with a working agent system.",
    "validate": "Check manifests and say everything that is wrong.",
    "schema": "Print the JSON Schema of a kind.",
    "explain": "Explain a kind or a field, for example agent.spec.limits, or what a task decided.",
    "convert": "Bring manifests of an old apiVersion into the form of today.",
    "run": "Run one task from a folder of manifests, without a daemon.",
    "chat": "Talk with an agent at the terminal.",
    "serve": "Run the daemon.",
    "plan": "Say what manifests would change, and what that means.",
    "diff": "Show both texts of everything that manifests would change.",
    "apply": "Hand manifests, or a plan that was kept, to the daemon.",
    "delete": "Delete objects, or forget sessions.",
    "edit": "Change an object in your editor.",
    "wait": "Return when objects or tasks are as they should be.",
    "rollout": "Show the history of what served, follow it, and go back.",
    "get": "List objects, tasks, approvals, proposals, capabilities, blueprints, lineage, sessions and more.",
    "describe": "Show objects, tasks, approvals, sessions, sources or revisions in full.",
    "top": "Show what goes on now: agents and tasks, drawn anew again and again.",
    "reconcile": "Let a source deliver now.",
    "suspend": "Ignore what a source delivers, or when a schedule is due.",
    "resume": "Take what a source delivers again, or go on with a schedule.",
    "submit": "Hand a task to the daemon.",
    "cancel": "End tasks.",
    "retry": "Run tasks anew.",
    "approve": "Agree to calls that tasks wait for, and to what clusters propose.",
    "deny": "Refuse calls that tasks wait for, and what clusters propose.",
    "revert": "Give an agent the instructions back that it had before it learned others.",
    "why-died": "Say why an agent does badly, or gets no tasks.",
    "signal": "Send something to a task that waits for it.",
    "forget": "Delete what a memory or a cluster remembers.",
    "feedback": "Say how good an answer is.",
    "events": "Show what happened, and follow it.",
    "logs": "Show what a task said and did, in order.",
    "adopt": "Take over into manifests what clusters learned.",
    "export": "Write a task's recording, a blueprint's manifest, or what a memory remembers.",
    "replay": "Run recorded tasks again, without a model or a network.",
    "test": "Run the tests that manifests declare, without a model or a network.",
    "knowledge": "Search knowledge bases, see how they stand, and build their indexes anew.",
    "check": "Verify a state directory and say what to do.",
    "models": "List, fetch, verify and remove the embedded models.",
    "completion": "Print the script that lets a shell complete verbs and options.",
    "version": "Print the version.",
}


REFUSED = {"plan": 2, "diff": 2, "wait": 2, "check": 2, "knowledge": 2}
"""Exit codes of what is refused, for verbs whose 1 says something else."""


TELLING = frozenset(
    (
        *("validate", "plan", "diff", "apply", "delete", "edit", "wait", "rollout", "reconcile"),
        *("run", "submit", "replay", "test", "check", "knowledge"),
    )
)
"""Verbs whose exit code tells something: 0 would say of a plan that nobody read that there are no changes."""
FOLLOWING = frozenset(("get", "events", "logs", "top"))
"""Verbs that may go on without end and only look: they end as soon as the reader of their output leaves."""
_UNREAD = 128 + signal.SIGPIPE
"""Exit code when the reader of standard output left before its end, as of other programs that write into a pipe."""


class Verbs(click.Group):
    """A group that imports a verb's module when the verb is used."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a verb; click would call it a failure when the reader of its output leaves."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return _hush()

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the verb that is meant; what is none is refused with the closest that there is."""
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            hint = did_you_mean(args[0], VERBS) or "`loomd --help` lists them"
            ctx.fail(f"no verb {args[0]!r}: {hint}")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of their first use."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a verb."""
        del ctx
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"loomd.cli.{cmd_name.replace('-', '_')}").command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the verbs, and the options of `loomd` itself, that begin so, without importing a verb."""
        found = [CompletionItem(name, help=text) for name, text in VERBS.items() if name.startswith(incomplete)]
        return [*found, *super(click.Group, self).shell_complete(ctx, incomplete)]

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
    gc.disable()  # start-up allocates much and frees nothing; verbs that run tasks turn it on again
    arguments = sys.argv[1:] if argv is None else argv
    if arguments and arguments[0] in VERBS and arguments[0] != "version" and not may_bring("pydantic]"):
        os.environ.setdefault(_PLUGINS, "__all__")  # it would read what every package says to find that there are none
    if arguments and arguments[0] in FOLLOWING and stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
        threading.Thread(target=_leave_with_reader, daemon=True).start()
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # as on standard error: a character it lacks ends no verb
    code = run(arguments)
    code = _read(arguments, _guard(sys.stdout.flush)) or code
    with suppress(OSError):  # nobody is left to tell
        sys.stderr.flush()
    os._exit(code)


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    return _read(arguments, _guard(lambda: _verb(arguments), REFUSED.get(arguments[0], 1) if arguments else 1))


def _leave_with_reader() -> None:
    """End the process when nobody reads its output any more, also when it has nothing to say."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # an end of the pipe that is closed is told without asking
    poll.poll()
    os._exit(0)


def _read(arguments: Sequence[str], code: int) -> int:
    """Return an exit code; that the reader left is a failure of those verbs only whose code tells something."""
    return 0 if code == _UNREAD and (not arguments or arguments[0] not in TELLING) else code


def _verb(arguments: Sequence[str]) -> object:
    for number, text in enumerate(arguments, start=1):
        if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
            raise click.UsageError(
                f"argument {number} is not UTF-8: {text.encode('utf-8', 'backslashreplace').decode()}"
            )
    return loomd.main(args=arguments, prog_name="loomd", standalone_mode=False)


def _guard(act: Callable[[], object], refused: int = 1) -> int:
    """Do something and return the exit code; what it raises is said on standard error.

    Args:
        act: what to do.
        refused: the exit code when it is refused.
    """
    try:
        code = act()
    except click.exceptions.Exit as error:
        return error.exit_code
    except SystemExit as error:
        code = error.code
    except BaseException as error:
        return _explain(_first(error), refused)
    return code if isinstance(code, int) else 0


def _first(error: BaseException) -> BaseException:
    """Return the error that a group is about: its first of our own, or else its first."""
    while isinstance(error, BaseExceptionGroup):
        ours, _ = error.split(LoomdError)
        error = (ours or error).exceptions[0]
    return error


def _explain(error: BaseException, refused: int) -> int:
    """Say what went wrong and return the exit code."""
    match error:
        case click.ClickException():
            error.show()
            return 2
        case click.Abort() | KeyboardInterrupt():
            return _say("interrupted", 130)
        case BrokenPipeError():
            return _hush()
        case Problems():
            return _say(render(error.problems, stream=sys.stderr), refused)
        case LoomdError():
            return _say(f"error: {error}", 2 if isinstance(error, NotFound | Temporary) else refused)
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return _say(f"error: {where}{error.strerror or error}", 2)
        case _:
            if os.environ.get("LOOMD_DEBUG"):
                traceback.print_exception(error)
            return _say(f"internal error: {type(error).__name__}: {error} (LOOMD_DEBUG=1 shows where)", 70)


def _hush() -> int:
    """Let nothing more be said on standard output, whose reader is gone, and return what a shell says of that."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _UNREAD


def _say(text: str, code: int) -> int:
    click.echo(text, err=True)
    return code
