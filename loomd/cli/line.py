"""Where a conversation reads lines from: a terminal with history and completion, or a pipe. For `conversation`."""

import asyncio
import os
import sys
from collections.abc import Mapping
from typing import Protocol

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from loomd.store.directory import default_directory


class Line(Protocol):
    """Reads what is said. `live` tells whether a person sits there."""

    live: bool

    async def read(self, prompt: str) -> str:
        """Return the next line.

        Raises:
            EOFError: there is none any more.
            KeyboardInterrupt: the person wants to begin the line anew.
        """
        ...


os.environ.setdefault("PROMPT_TOOLKIT_NO_CPR", "1")  # a terminal that answers late would be taken for keys


class Typed:
    """A person at a terminal: keys of readline, history over sessions, Alt-Enter for a new line."""

    live = True

    def __init__(self, commands: Mapping[str, str]) -> None:
        folder = default_directory().parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / "chat-history"
        path.touch(mode=0o600)
        words = [f"/{name}" for name in commands]
        self._session: PromptSession[str] = PromptSession(
            history=FileHistory(str(path)),
            completer=WordCompleter(words, meta_dict={f"/{k}": v for k, v in commands.items()}, sentence=True),
            complete_while_typing=False,
            key_bindings=_keys(),
        )
        self._plain: PromptSession[str] = PromptSession()

    async def read(self, prompt: str) -> str:
        """Return the next line; answers to questions do not enter the history."""
        session = self._session if prompt == "> " else self._plain
        said: str = await session.prompt_async(prompt, handle_sigint=False)
        return said


class Piped:
    """Lines of standard input."""

    live = False

    async def read(self, prompt: str) -> str:
        """Return the next line."""
        del prompt
        line: str = await asyncio.to_thread(sys.stdin.readline)
        if not line:
            raise EOFError
        return line


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys
