"""What `loomd describe blueprint/B` prints of a specialist. Called by `describe`."""

from loomd.api.client import Json
from loomd.cli.page import moment, pairs, section
from loomd.cli.table import age_of, render
from loomd.clock import SystemClock
from loomd.manifest.wording import without_secrets


def describe(item: Json) -> None:
    """Print all that is known of a blueprint."""
    spec, status, now = item["spec"], item["status"], SystemClock().now()
    reward = f"{status['meanReward']:.2f}" if "meanReward" in status else ""
    pairs(
        [
            ("Blueprint", item["metadata"]["name"]),
            ("Namespace", item["metadata"]["namespace"]),
            ("Cluster", spec["cluster"]),
            ("Creator", spec["creator"] or "declared by people"),
            ("State", status["state"]),
            ("Health", status.get("health", "")),
            ("Tasks", str(status.get("tasks", 0))),
            ("Mean reward", reward),
            ("Version", str(status["version"]) if status["version"] else ""),
            ("Made", moment(item["metadata"].get("creationTimestamp", ""), now)),
            ("Description", without_secrets(spec["description"])),
            ("Tools", ", ".join(spec["tools"])),
        ]
    )
    section("Domains", [f"{domain}: {score:.2f}" for domain, score in spec["domains"].items()])
    section("Instructions", without_secrets(spec["instructions"]).splitlines())
    versions = [
        (str(one["version"]), one["how"], str(one["parent"] or ""), age_of(one["at"], now))
        for one in status["versions"]
    ]
    section("Versions", render(("VERSION", "HOW", "AFTER", "AGE"), versions) if versions else [])
    rewards = [(age_of(one["at"], now), f"{one['reward']:.2f}", f"Task/{one['task']}") for one in status["rewards"]]
    section("Last rewards", render(("AGE", "REWARD", "TASK"), rewards) if rewards else [])
    turns = [(age_of(one["at"], now), one["how"], f"Task/{one['task']}") for one in status["lineage"]]
    section("Lineage", render(("AGE", "WHAT", "AFTER"), turns) if turns else [])
