"""A conversation at the terminal: reads what a person says, lets a partner answer, shows it, and asks what is asked.

Called by `chat`.
"""

import asyncio
import secrets
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import click

from loomd import embed
from loomd.api.client import Client
from loomd.cli.colour import GREY, painter
from loomd.cli.line import Line, Piped, Typed
from loomd.cli.partner import Daemon, Folder, Partner
from loomd.cli.spoken import Spoken
from loomd.engine.accept import clusters_in
from loomd.engine.intake import Wish, check_names
from loomd.errors import Conflict, LoomdError
from loomd.events.event import ApprovalRequested
from loomd.garbage import collect_seldom
from loomd.manifest.object import Snapshot
from loomd.manifest.wording import did_you_mean, quoted
from loomd.messages import Usage


@dataclass(frozen=True)
class Setting:
    """Who talks with whom, and where.

    Attributes:
        agent: name of the agent; empty for a cluster that chooses one for each turn.
        cluster: name of the cluster, or empty.
        namespace: where it lives.
        session: name of a conversation that goes on, or empty for a new one.
        path: manifests to open; None for the daemon.
        state: state directory of that system; None for its own.
        client: the daemon.
        reasoning: whether what models think is shown in full.
    """

    agent: str
    cluster: str
    namespace: str
    session: str
    path: Path | None
    state: Path | None
    client: Client
    reasoning: bool = False


def converse(setting: Setting) -> int:
    """Talk until the person leaves, and return the exit code: 1 when the last turn failed."""
    collect_seldom()
    return asyncio.run(_converse(setting))


async def _converse(setting: Setting) -> int:
    async with _partner(setting) as partner:
        line = Typed(COMMANDS) if sys.stdin.isatty() and sys.stdout.isatty() else Piped()
        return await Conversation(setting, partner, line).run()


@asynccontextmanager
async def _partner(setting: Setting) -> AsyncGenerator[Partner, None]:
    if setting.path is None:
        await asyncio.to_thread(setting.client.get, "rollout")  # whether there is a daemon is told at once
        yield Daemon(setting.client, setting.namespace)
    else:

        def admits(declared: Snapshot) -> None:
            clusters_in(declared, setting.namespace)  # that nobody answers is said before anything is opened

        async with embed.open(setting.path, state=setting.state, admits=admits) as system:
            yield Folder(system)


class Conversation:
    """Turns, one after another."""

    def __init__(self, setting: Setting, partner: Partner, line: Line) -> None:
        self._setting = setting
        self._partner = partner
        self._line = line
        self._paint = painter(sys.stderr)
        self._session = setting.session or _new_session()
        self._reasoning = setting.reasoning
        self._last = ""
        self._usage = Usage()
        self._cost = 0.0
        self._failed = False

    async def run(self) -> int:
        """Talk until the person leaves, and return the exit code."""
        if self._line.live:
            whom = self._setting.agent or self._setting.cluster or "the cluster"
            self._note(f"You talk with {whom}. /help lists the commands, Ctrl-D ends.")
        while True:
            try:
                said = (await self._line.read("> ")).strip()
            except EOFError:
                break
            except KeyboardInterrupt:
                continue
            if said.startswith("/"):
                name, _, rest = said[1:].partition(" ")
                if name in {"exit", "quit"}:
                    break
                await self._command(name, rest.strip())
            elif said:
                await self._turn(said)
        if self._line.live and self._last:
            whom = f"{self._setting.agent} " if self._setting.agent else ""
            self._note(f"Go on with it: loomd chat {whom}--session {self._session}")
        return 1 if self._failed else 0

    async def _command(self, name: str, rest: str) -> None:
        command = _DO.get(name)
        if command is None:
            self._note(f"there is no command /{name}; /help lists them")
        else:
            await command(self, rest)

    async def _turn(self, said: str) -> None:
        """Let the partner answer; Ctrl-C ends the answer, not the conversation."""
        self._last = said
        turn = asyncio.ensure_future(self._answer(said))
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, turn.cancel)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                raise
            self._failed = True
            self._note("stopped")
        except LoomdError as error:
            self._failed = True
            click.echo(f"error: {error}", err=True)
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    async def _answer(self, said: str) -> None:
        spoken, task = Spoken(live=self._line.live, reasoning=self._reasoning), ""
        async with aclosing(self._partner.ask(said, self._wish())) as events:
            async for event in events:
                task = task or event.task
                spoken.hear(event)
                if isinstance(event.data, ApprovalRequested):
                    await self._ask(event.data)
        result = await self._partner.result(task)
        spoken.finish(result)
        if result.executed is not None:
            self._usage += result.executed.outcome.usage
            self._cost += result.executed.outcome.cost
        self._failed = result.phase != "Succeeded"

    async def _ask(self, asked: ApprovalRequested) -> None:
        """Put a question of the turn to the person; who leaves it unanswered with Ctrl-C or Ctrl-D ends the turn."""
        agreed, reason = False, "nobody sits at the terminal"
        if self._line.live:
            try:
                said = (await self._line.read("agree? [y/N, or why not] ")).strip()
            except (KeyboardInterrupt, EOFError):
                raise asyncio.CancelledError from None
            agreed = said.lower() in {"y", "yes"}
            reason = "" if agreed or said.lower() in {"", "n", "no"} else said
        with suppress(Conflict):  # it was answered elsewhere, or has expired
            await self._partner.decide(asked.approval, agreed=agreed, reason=reason)

    def _wish(self) -> Wish:
        setting = self._setting
        return Wish(namespace=setting.namespace, cluster=setting.cluster, agent=setting.agent, session=self._session)

    async def help(self, rest: str) -> None:
        """List the commands."""
        del rest
        for name, text in COMMANDS.items():
            self._note(f"  /{name:10} {text}")

    async def new(self, rest: str) -> None:
        """Begin a new conversation."""
        session = rest or _new_session()
        try:
            check_names(session=session)
        except LoomdError as error:
            self._note(f"{error}; the conversation goes on as {self._session}")
            return
        self._session = session
        self._note(f"a new conversation: {self._session}")

    async def agent(self, rest: str) -> None:
        """Talk with another agent."""
        if rest and rest not in (known := await self._partner.agents(self._setting.namespace)):
            whom = self._setting.agent or "whoever the cluster chooses"
            hint = did_you_mean(rest, known, "there are:") or "there is none"
            self._note(f"there is no agent {quoted(rest)}: {hint}; you talk with {whom} as before")
            return
        self._setting = replace(self._setting, agent=rest)
        self._note(f"you talk with {rest or 'whoever the cluster chooses'} now")

    async def reasoning(self, rest: str) -> None:
        """Show or fold what models think."""
        self._reasoning = rest == "on" or (rest != "off" and not self._reasoning)
        self._note(f"reasoning is {'shown' if self._reasoning else 'folded'}")

    async def usage(self, rest: str) -> None:
        """Say what was used so far."""
        del rest
        cached = f", {self._usage.cached} of them cached" if self._usage.cached else ""
        self._note(f"{self._usage.input} tokens in{cached}, {self._usage.output} out, {self._cost:.4f} USD")

    async def retry(self, rest: str) -> None:
        """Say the last thing again."""
        del rest
        if self._last:
            await self._turn(self._last)
        else:
            self._note("nothing was said yet")

    def _note(self, text: str) -> None:
        click.echo(self._paint(text, GREY), err=True)


def _new_session() -> str:
    return f"chat-{secrets.token_hex(4)}"


_DO: dict[str, Callable[[Conversation, str], Awaitable[None]]] = {
    "help": Conversation.help,
    "new": Conversation.new,
    "agent": Conversation.agent,
    "reasoning": Conversation.reasoning,
    "usage": Conversation.usage,
    "retry": Conversation.retry,
}
COMMANDS = {
    "help": "list the commands",
    "new": "[NAME] begin a new conversation, or go on with another",
    "agent": "[NAME] talk with another agent, or with whom the cluster chooses",
    "reasoning": "[on|off] show what the model thinks, or fold it",
    "usage": "say what this conversation used",
    "retry": "say the last thing again",
    "exit": "leave; so does Ctrl-D",
}
"""What may be typed in place of something to say, with a line for each."""
