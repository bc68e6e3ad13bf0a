"""How what a task does now differs from what was recorded, in lines for people. Pure. Called by `player`."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

import msgspec

from loomd.errors import Diverged
from loomd.manifest.wording import dotted
from loomd.messages import Message, Request, ToolSchema, render_passages

_CONTEXT = 2
"""Lines around a difference that are shown."""
_LONGEST = 200
"""Characters of a value that are shown."""


@dataclass(frozen=True)
class Difference:
    """The first difference of a replay.

    Attributes:
        task: id of the task or part.
        step: key of the step or name of the phase.
        what: what differs, in one sentence.
        lines: what was recorded (`-`) and what the task does now (`+`).
    """

    task: str
    step: str
    what: str
    lines: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"task": self.task, "step": self.step, "what": self.what, "diff": list(self.lines)}


class Differs(Diverged):
    """A replay does something else than was recorded.

    Attributes:
        difference: what.
    """

    def __init__(self, difference: Difference) -> None:
        super().__init__(f"Task/{difference.task} {difference.step}: {difference.what}")
        self.difference = difference


def of_requests(recorded: Request, now: Request) -> list[str]:
    """Return how two requests to a model differ; nothing when they are alike."""
    lines: list[str] = []
    for at in range(max(len(recorded.turns), len(now.turns))):
        before, after = (one.turns[at] if at < len(one.turns) else None for one in (recorded, now))
        if before != after:
            role = (after or before or Message("user")).role
            lines.append(f"message {at + 1} ({role}):")
            lines += _of_texts(_spoken(before), _spoken(after))
    lines += _of_tools(recorded.tools, now.tools)
    for name in ("output_schema", "temperature", "max_tokens"):
        lines += of_values(getattr(recorded, name), getattr(now, name), f"/{_camel(name)}")
    return lines


def of_values(recorded: Any, now: Any, pointer: str = "") -> list[str]:
    """Return how two JSON values differ, each place once."""
    return list(_of_values(msgspec.to_builtins(recorded), msgspec.to_builtins(now), pointer))


def _of_values(recorded: Any, now: Any, pointer: str) -> Iterator[str]:
    if recorded == now:
        return
    if isinstance(recorded, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*recorded, *now)):
            yield from _of_values(recorded.get(key), now.get(key), f"{pointer}/{key}")
    elif isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
        for at, (one, other) in enumerate(zip(recorded, now, strict=True)):
            yield from _of_values(one, other, f"{pointer}/{at}")
    else:
        yield f"{dotted(pointer) or 'value'}:"
        if isinstance(recorded, str) and isinstance(now, str):
            yield from _of_texts(recorded, now)
        else:
            yield f"- {_shown(recorded)}"
            yield f"+ {_shown(now)}"


def _of_texts(recorded: str, now: str) -> list[str]:
    found = unified_diff(recorded.splitlines(), now.splitlines(), lineterm="", n=_CONTEXT)
    lines = [line for line in found if not line.startswith(("---", "+++", "@@"))]
    return [f"{line[:1]} {line[1:]}".rstrip() for line in lines]


def _of_tools(recorded: tuple[ToolSchema, ...], now: tuple[ToolSchema, ...]) -> list[str]:
    before, after = ({tool.name: tool for tool in tools} for tools in (recorded, now))
    lines: list[str] = []
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) == after.get(name):
            continue
        if name not in after:
            lines.append(f"- tool {name}")
        elif name not in before:
            lines.append(f"+ tool {name}")
        else:
            lines += of_values(before[name], after[name], f"/tool {name}")
    if not lines and recorded != now:
        lines += [f"- tools {', '.join(before)}", f"+ tools {', '.join(after)}"]
    return lines


def _spoken(message: Message | None) -> str:
    """Return what a message says, with its calls and passages, as text."""
    if message is None:
        return ""
    parts = [message.text] if message.text else []
    parts += [f"calls {call.name} {msgspec.json.encode(call.arguments).decode()}" for call in message.tool_calls]
    if message.passages:
        parts.append(render_passages(message.passages))
    return "\n".join(parts)


def _shown(value: Any) -> str:
    text = "nothing" if value is None else msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
