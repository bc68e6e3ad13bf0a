"""What the daemon's log holds of what others log."""

import subprocess
import sys

import pytest

REQUEST = """
import httpx2
from loomd import log

log.configure({level!r}, "text")
transport = httpx2.MockTransport(lambda request: httpx2.Response(200))
httpx2.Client(transport=transport).get("http://127.0.0.1:9/path?token=abc")
"""


@pytest.mark.parametrize(("level", "told"), [("info", False), ("debug", True)])
def test_requests_of_packages_are_told_when_all_is_logged(level: str, told: bool) -> None:
    """A package that tells of each request, such as those behind `client: sdk` and MCP, fills no log by itself."""
    done = subprocess.run(  # noqa: S603  # our own words
        [sys.executable, "-c", REQUEST.format(level=level)], capture_output=True, text=True, check=True, timeout=60
    )
    assert ("HTTP Request: GET" in done.stderr) is told, done.stderr
