"""`loomd chat`: a conversation with an agent at the terminal, in a folder of manifests or through the daemon."""

from pathlib import Path

import click

from loomd.cli.target import Client, namespace_option, socket_option


@click.command()
@click.argument("agent", required=False, default="")
@click.option(
    "-f",
    "--file",
    "path",
    type=click.Path(exists=True, path_type=Path),
    help="File or folder of manifests to open, without a daemon.",
)
@click.option("--cluster", default="", help="Cluster that is talked to; needed only when there are several.")
@click.option("--session", default="", help="Name of a conversation, to go on with it; else a new one begins.")
@click.option("--state", type=click.Path(path_type=Path), help="With -f, state directory; by default one per folder.")
@click.option("--reasoning", is_flag=True, help="Show what models think, in full.")
@namespace_option
@socket_option
def command(
    agent: str,
    path: Path | None,
    cluster: str,
    session: str,
    state: Path | None,
    reasoning: bool,
    namespace: str,
    client: Client,
) -> int:
    """Talk with AGENT, or with a cluster, which chooses an agent for each turn.

    The answer comes as it is written; calls of tools are shown, and what needs your approval is asked in place. /help
    lists the commands. Ctrl-C ends an answer, Ctrl-D the conversation. Without a terminal every line of standard input
    is a turn, and only answers are printed.
    """
    from loomd.cli.conversation import Setting, converse  # noqa: PLC0415  # brings all that runs tasks

    return converse(Setting(agent, cluster, namespace, session, path, state, client, reasoning=reasoning))
