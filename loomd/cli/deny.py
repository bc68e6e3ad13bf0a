"""`loomd deny`: refuses calls that tasks wait for, and changes that clusters propose."""

from loomd.api.client import Client
from loomd.cli.decide import decide, decision_options


@decision_options
def command(names: tuple[str, ...], reason: str, namespace: str, client: Client) -> None:
    """Refuse what tasks ask for: the call is not made.

    The answer holds for exactly the arguments that were asked about; `loomd get approvals` shows them. The first one
    counts. `proposal/PROPOSAL` is a change that a cluster wants to make; it is not made.
    """
    decide(client, names, namespace, "denied", reason)
