"""`loomd revert`: gives an agent earlier instructions back."""

import click

from loomd.api.client import Client
from loomd.cli.output import spelled
from loomd.cli.target import namespace_option, socket_option, wanted


@click.command()
@click.argument("agent", metavar="AGENT")
@click.option(
    "--to", type=click.IntRange(min=0), help="Version; 0 is what its manifest says. By default the one before."
)
@click.option("--cluster", default="", help="Where, when it learned in several clusters.")
@click.option("--reason", default="", help="Why; kept with the change.")
@namespace_option
@socket_option
def command(agent: str, to: int | None, cluster: str, reason: str, namespace: str, client: Client) -> None:
    """Give an AGENT the instructions back that it had before it learned others.

    AGENT is a name, or agent/NAME. `loomd describe agent/NAME` lists its versions. Each stays kept, and the scores that
    it had come back with it. Tasks that have begun go on as they began.
    """
    (one,) = wanted(client, [agent if "/" in agent else f"agent/{agent}"], namespace)
    if one.place.kind != "Agent":
        raise click.UsageError(f"{agent!r}: expected an agent")
    body = {"to": to, "cluster": cluster, "reason": reason}
    done = client.post("namespaces", one.namespace, "agents", one.names[0], "revert", body=body)
    as_what = f"has the instructions of version {done['to']}" if done["to"] else "is as its manifest says"
    name = spelled("Agent", done["agent"], one.namespace)
    click.echo(f"{name} {as_what} in Cluster/{done['cluster']}; that is version {done['version']}")
