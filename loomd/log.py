"""The daemon's log on standard error: lines for people, or one JSON object a line for programs.

Configured by `lifecycle` at the start and at every reload; who logs uses the standard library and knows nothing of it.
"""

import json
import logging
from datetime import UTC, datetime

from loomd.manifest.wording import inert, without_secrets

_CHATTY = ("watchfiles", "faiss", "asyncio", "aiohttp", "httpx2")
"""Libraries whose notes say nothing about loomd; they are heard from `warning` on, or when all is logged."""


_FOREIGN = ("mcp", "client")
"""Loggers of the MCP SDK: they quote what servers say, and the health of a tool tells it better."""


class Lines(logging.Formatter):
    """Formats a record as lines for people.

    What others raised and said is a part of it, so it is told without what looks like a secret, and nothing in it
    steers the terminal that shows it.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines."""
        return _told(super().format(record))


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object, its texts as `Lines` does."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _told(record.getMessage()),
        }
        if record.exc_info:
            line["error"] = _told(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def configure(level: str, form: str) -> None:
    """Log from a level on, `debug` to `error`, in a form, `text` or `json`; what was configured before is replaced."""
    handler = logging.StreamHandler()
    text = Lines("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if form == "json" else text)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _FOREIGN:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.CRITICAL)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else max(logging.WARNING, root.level))


def _told(text: str) -> str:
    return inert(without_secrets(text))
