"""`loomd approve`: agrees to calls that tasks wait for, and to changes that clusters propose."""

from loomd.api.client import Client
from loomd.cli.decide import decide, decision_options


@decision_options
def command(names: tuple[str, ...], reason: str, namespace: str, client: Client) -> None:
    """Agree to what tasks ask for: the call is made.

    The answer holds for exactly the arguments that were asked about; `loomd get approvals` shows them. The first one
    counts. `proposal/PROPOSAL` is a change that a cluster wants to make; it is made at once.
    """
    decide(client, names, namespace, "approved", reason)
