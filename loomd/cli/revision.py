"""A stored revision for people: what led to it, what it changed, and the files that it is made of."""

from loomd.api.client import Json
from loomd.cli.page import moment, pairs, section
from loomd.cli.table import render
from loomd.clock import SystemClock


def show_revision(item: Json) -> None:
    """Print a revision as the API shows it, with its changes and files."""
    spec, status, number = item["spec"], item["status"], item["metadata"]["name"]
    pairs(
        [
            ("Revision", f"{number} (serves)" if status["serving"] else number),
            ("Digest", spec["revision"]),
            ("Created", moment(item["metadata"]["creationTimestamp"], SystemClock().now())),
            ("Cause", spec["cause"]),
            ("Source", spec["source"]),
        ]
    )
    section("Changes", status["changes"])
    rows = [(one["source"], one["path"], f"{len(one['text'].encode()):,}") for one in item["files"]]
    section("Files", render(("SOURCE", "FILE", "BYTES"), rows) if rows else [])
    section("Texts", [f"loomd rollout history --revision {number} -o yaml"])
