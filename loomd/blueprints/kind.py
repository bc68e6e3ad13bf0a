"""`kind: Blueprint`: an agent that joins a cluster when nobody takes a task that it fits."""

from loomd.agents.kind import AgentSpec
from loomd.manifest.kind import Kind


class BlueprintSpec(AgentSpec):
    """A specialist in waiting, with the fields of an Agent.

    It is no member of a cluster that names it in `forge.blueprints` until nobody there takes a task that its
    description and its domains fit. It goes again when it does badly or nothing, as the cluster's `forge` says.
    """


KIND = Kind(
    "Blueprint",
    "declaredblueprints",
    lambda: BlueprintSpec,
    "A specialist that joins a cluster when nobody takes a task that it fits.",
)
