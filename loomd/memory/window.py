"""What of a conversation fits the window: the system turn, the goal, and as many of the latest turns as there is room.

Tokens are estimated: one for every four characters. A tool's result never stands without the call that asked for it,
because services refuse such a conversation. Pure.
"""

from collections.abc import Callable

from loomd.messages import Message

CHARACTERS_PER_TOKEN = 4
"""How text is measured without a tokenizer."""
_PER_TURN = 4


def fit_window(
    messages: tuple[Message, ...], tokens: int, goal: int = 1, size: Callable[[Message], int] | None = None
) -> tuple[Message, ...]:
    """Return the messages that fit.

    The system turn, the goal and the latest group after it (a turn with its tool results) are always kept. Earlier
    turns, before the goal, leave first, each question with its answer.

    Args:
        messages: the conversation, oldest first.
        tokens: size of the window.
        goal: place of the turn that says what is wanted.
        size: returns the tokens of a turn; a quarter of its characters by default.
    """
    sizes = [(size or _tokens)(message) for message in messages]
    if sum(sizes) <= tokens:
        return messages
    fixed = {at for at, message in enumerate(messages) if message.role == "system"}
    fixed.update([at for at, message in enumerate(messages) if message.role == "user" and at >= goal][:1])
    room = tokens - sum(sizes[at] for at in fixed)
    kept = set(fixed)
    for group in reversed(_groups(messages, fixed, goal)):
        room -= sum(sizes[at] for at in group)
        if room < 0 and (group[0] < goal or len(kept) > len(fixed)):
            break
        kept.update(group)
    return tuple(message for at, message in enumerate(messages) if at in kept)


def _groups(messages: tuple[Message, ...], fixed: set[int], goal: int) -> list[list[int]]:
    """Return the places of the other messages; results are grouped with their calls, earlier answers with questions."""
    groups: list[list[int]] = []
    for at, message in enumerate(messages):
        if at in fixed:
            continue
        if groups and (message.role == "tool" or (message.role == "assistant" and at < goal)):
            groups[-1].append(at)
        else:
            groups.append([at])
    return groups


def _tokens(message: Message) -> int:
    characters = len(message.text)
    characters += sum(len(p.text) + len(p.title) + len(p.source) for p in message.passages)
    characters += sum(len(call.name) + len(str(call.arguments)) for call in message.tool_calls)
    return _PER_TURN + characters // CHARACTERS_PER_TOKEN
