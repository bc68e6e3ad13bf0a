"""Shows a task of the daemon as it runs, until it ends, over a restart of the daemon, too.

Called by `submit --wait`.
"""

import json

import msgspec

from loomd.amoeba.task import Result
from loomd.api.client import Asked, Client
from loomd.cli.listening import insist, listen
from loomd.cli.show import Show
from loomd.events.event import Event, TaskCompleted, TaskFailed


def follow(client: Client, namespace: str, task: str, *, quiet: bool, output: str) -> int:
    """Show what happens in a task and its parts until it ends, then what became of it, and return the exit code.

    Of a task of which nothing is kept only the end is shown: what happened before somebody listened is in no journal.

    Args:
        client: the daemon.
        namespace: the task's namespace.
        task: its id.
        quiet: whether only the answer is shown.
        output: `text` or `json`.
    """
    show = Show(quiet=quiet or output == "json")
    kept = insist(lambda: client.get("namespaces", namespace, "tasks", task))["spec"].get("durability") != "none"
    result = _follow(client, namespace, task, show, kept=kept)
    while result.retried:
        result = _follow(client, namespace, result.retried, show, kept=kept)
    return show.finish(result, output)


def _follow(client: Client, namespace: str, task: str, show: Show, *, kept: bool) -> Result:
    """Show what happens in one attempt until it ends, and return what became of it."""
    for said in listen(client, Asked(task=task, opened=True), say=show.note) if kept else ():
        event = msgspec.json.decode(json.dumps(said), type=Event)
        show.hear(event)
        if event.task == task and isinstance(event.data, TaskCompleted | TaskFailed):
            break
    found = insist(lambda: client.get("namespaces", namespace, "tasks", task, wait="1"))
    return msgspec.json.decode(json.dumps(found["status"]["result"]), type=Result)  # its decisions stay as they are
