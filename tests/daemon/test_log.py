"""What the daemon's log holds of what others log."""

import json
import logging
import subprocess
import sys

import pytest

from loomd.log import JsonLines, Lines

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


@pytest.mark.parametrize("form", [Lines(), JsonLines()])
def test_what_others_raise_holds_no_secret_and_steers_no_terminal(form: logging.Formatter) -> None:
    """The text of an error of a package stands in the message and in the trace; lines stay lines."""
    error = ValueError("https://me:sesame@example.org\nrefused\x1b]0;title\x07 \u202e")
    record = logging.LogRecord("foreign", logging.ERROR, __file__, 1, "failed: %s", (error,), (ValueError, error, None))
    said = form.format(record)
    if isinstance(form, JsonLines):
        line = json.loads(said)
        said = f"{line['message']}\n{line['error']}"
    told = "https://***@example.org\nrefused\\x1b]0;title\\x07 \\u202e"
    assert said == f"failed: {told}\nValueError: {told}"
