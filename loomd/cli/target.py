"""Which daemon and which namespace a verb talks to: the options that verbs share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from loomd.api.client import Client, default_socket
from loomd.errors import NotFound

F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["Client", "namespace_option", "output_option", "resolve", "socket_option"]


def socket_option(function: F) -> F:
    """Add `--socket`; the verb gets a `client`."""
    return click.option(
        "--socket",
        "client",
        type=click.Path(path_type=Path),
        default=default_socket,
        callback=_connect,
        show_default="LOOMD_SOCKET, or the user's runtime directory",
        help="Socket of the daemon.",
    )(function)


def _connect(context: click.Context, option: click.Parameter, path: Path) -> Client:
    del context, option
    return Client(path)


def namespace_option(function: F) -> F:
    """Add `-n/--namespace`."""
    return click.option("-n", "--namespace", default="default", show_default=True, help="Namespace to look in.")(
        function
    )


def output_option(*forms: str) -> Callable[[F], F]:
    """Add `-o/--output` with these forms, the first as default."""
    return click.option("-o", "--output", type=click.Choice(forms), default=forms[0], show_default=True, help="Form.")


def resolve(client: Client, what: str, name: str | None) -> tuple[str, str | None]:
    """Return plural and name for `agents`, `agent ada`, `Agent/ada`.

    Raises:
        NotFound: there is no such kind.
    """
    if name is None and "/" in what:
        what, _, name = what.partition("/")
    word = what.lower()
    if word in {"all", "tasks", "task"}:
        return ("tasks" if word == "task" else word), name
    kinds = client.get()["kinds"]
    for kind in kinds:
        if word in {kind["plural"], kind["name"].lower()}:
            return str(kind["plural"]), name
    known = ", ".join([*(kind["plural"] for kind in kinds), "tasks", "all"])
    raise NotFound(f"no kind {what!r}: there are {known}")
