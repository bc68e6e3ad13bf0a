"""`loomd why-died`: says why an agent does badly, or gets no tasks: its last rewards, and what was decided."""

import click

from loomd.api.client import Client, Json
from loomd.cli.output import Form, output_option, spelled, writer
from loomd.cli.page import moment, section
from loomd.cli.table import age_of, passed, render
from loomd.cli.target import namespace_option, socket_option, wanted
from loomd.clock import SystemClock
from loomd.manifest.wording import without_secrets

_WORDS = {
    "pruned": "was pruned",
    "retired": "gets no new tasks",
    "dying": "does badly enough to be retired or let go",
    "warning": "does badly",
    "good": "does well",
    "unknown": "was rewarded too seldom to say how it does",
}

_LOCKED = "does so badly that it would be dying, and gets tasks all the same, as `locked` of it or of its cluster says,"


@click.command("why-died")
@click.argument("agent", metavar="AGENT")
@namespace_option
@output_option("text", "json")
@socket_option
def command(agent: str, namespace: str, output: Form, client: Client) -> None:
    """Say why an AGENT does badly or gets no tasks, in each of its clusters, from what was recorded.

    AGENT is a name, or agent/NAME. With json all of it is data.
    """
    (one,) = wanted(client, [agent if "/" in agent else f"agent/{agent}"], namespace)
    if one.place.kind != "Agent":
        raise click.UsageError(f"{agent!r}: expected an agent")
    found = client.get("namespaces", one.namespace, "agents", one.names[0], "health")
    if output.name == "json":
        writer(output)(found)
        return
    for where in found["clusters"]:
        click.echo(_sentence(found, where))
    if not found["clusters"]:
        click.echo(f"{_name(found)} is a member of no cluster.")
    doing(found)


def doing(found: Json) -> None:
    """Print the last rewards of an agent, how its scores moved, its retirements, what it learned and what was tried."""
    now = SystemClock().now()
    rewards = [(age_of(one["at"], now), f"{one['reward']:.2f}", f"Task/{one['task']}") for one in found["rewards"]]
    section("Last rewards", render(("AGE", "REWARD", "TASK"), rewards) if rewards else [])
    moves = [
        (
            age_of(one["at"], now),
            one["domain"],
            f"{one['before']:.3f}",
            f"{one['after']:.3f}",
            f"{one['reward']:.2f}",
            f"Task/{one['task']}",
        )
        for one in found["movements"]
    ]
    section("Last movements", render(("AGE", "DOMAIN", "FROM", "TO", "REWARD", "TASK"), moves) if moves else [])
    turns = [
        (age_of(one["at"], now), one["how"], f"Task/{one['task']}")
        for one in found["lineage"]
        if one["how"].startswith(("retired", "revived", "pruned"))
    ]
    section("Retirements", render(("AGE", "WHAT", "AFTER"), turns) if turns else [])
    denied = [
        (age_of(one["at"], now), one["how"].partition(": ")[2], f"Task/{one['task']}")
        for one in found["lineage"]
        if one["how"].startswith("denied ")
    ]
    section("Denied", render(("AGE", "WHAT", "AFTER"), denied) if denied else [])
    versions = [
        (
            f"{one['version']}{_state(one)}",
            age_of(one["at"], now),
            one["how"],
            str(one["parent"]) if one["parent"] else "as declared",
            one["cluster"],
        )
        for one in found["versions"]
    ]
    section("Versions", render(("VERSION", "AGE", "HOW", "FROM", "CLUSTER"), versions) if versions else [])
    present = [one for one in found["versions"] if one["current"]]
    for title, locked in (("Learned instructions", False), ("Learned instructions, left out: they are locked", True)):
        texts = [one["instructions"].splitlines() for one in present if one["locked"] == locked]
        section(title, [without_secrets(line) for lines in texts for line in lines])
    tries = [(age_of(one["at"], now), one["cluster"], one["what"]) for one in found["attempts"]]
    section("Tried", render(("AGE", "CLUSTER", "WHAT"), tries) if tries else [])


def _state(version: Json) -> str:
    """Return whether a version is the one that holds, and whether it is left out all the same."""
    return f" ({'locked' if version['locked'] else 'present'})" if version["current"] else ""


def _sentence(found: Json, where: Json) -> str:
    now = SystemClock().now()
    words = _LOCKED if where["health"] == "dying" and where.get("locked") else _WORDS[where["health"]]
    if over := "until" in where and passed(where["until"], now):
        words = "gets tasks again"
    text = f"{_name(found)} {words} in Cluster/{where['cluster']}: {where['reason']}."
    if over:
        text += f" It was retired until {moment(where['until'], now)}; the next task there puts it on probation."
    elif "until" in where:
        text += (
            f" It was retired {age_of(where['lastRetired'], now)} ago and gets tasks again from {where['until']} on."
        )
        text += " An edit of it ends that at once."
    elif where.get("since"):
        text += f" That is so since {moment(where['since'], now)}."
    if "kept" in where and not where.get("locked"):
        text += f" It is not retired: {where['kept']}."
    return text


def _name(found: Json) -> str:
    return spelled("Agent", found["agent"], found["namespace"])
