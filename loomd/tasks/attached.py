"""What is attached to a task beside its goal: pictures and text files, looked at before the task is accepted.

Called by whoever accepts tasks: the API and the command line with what people send, `declared` with what a manifest
names. Keeps nothing.
"""

import base64
import binascii
from collections.abc import Iterable

from loomd.amoeba.task import Finding
from loomd.errors import Permanent
from loomd.messages import Image, MediaType

MAX_BYTES = 5 << 20
"""Largest picture: what the services take."""
MAX_TOTAL = 16 << 20
"""Most bytes of all pictures of a task."""
_BEGINNINGS: tuple[tuple[MediaType, bytes], ...] = (
    ("image/png", b"\x89PNG\r\n\x1a\n"),
    ("image/jpeg", b"\xff\xd8\xff"),
    ("image/gif", b"GIF87a"),
    ("image/gif", b"GIF89a"),
)
MAX_TEXT = 1 << 20
"""Most bytes of all text files of a task."""


def images_of(contents: tuple[str, ...]) -> tuple[Image, ...]:
    """Return pictures whose contents are given in base64; what form each has is seen in its first bytes.

    Raises:
        Permanent: one is none, or they are too large.
    """
    found: list[Image] = []
    total = 0
    for at, text in enumerate(contents):
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise Permanent(f"images[{at}]: expected base64") from None
        total += len(data)
        if len(data) > MAX_BYTES or total > MAX_TOTAL:
            limits = f"{MAX_BYTES >> 20} MiB each and {MAX_TOTAL >> 20} MiB together"
            raise Permanent(f"images[{at}]: expected at most {limits}, got {len(data)} bytes: make it smaller")
        found.append(Image(_media(data, at), text))
    return tuple(found)


def _media(data: bytes, at: int) -> MediaType:
    """Return the form of a picture.

    Raises:
        Permanent: it is none that models read.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    for media, beginning in _BEGINNINGS:
        if data.startswith(beginning):
            return media
    raise Permanent(f"images[{at}]: expected PNG, JPEG, GIF or WebP, got something else: convert it")


def files_of(texts: Iterable[tuple[str, str]]) -> tuple[Finding, ...]:
    """Return text files as what a task builds on, each with its name.

    Raises:
        Permanent: one has no name or no text, two have the same name, or they are too large.
    """
    found: dict[str, Finding] = {}
    total = 0
    for at, (name, text) in enumerate(texts):
        if not name.strip() or not name.isprintable():
            raise Permanent(f"files[{at}]: expected a name on one line, got {name[:80]!r}")
        if name in found:
            raise Permanent(f"files[{at}]: {name!r} is there twice: expected every name once")
        if not text.strip():
            raise Permanent(f"files[{at}]: expected text in {name!r}, got nothing")
        total += len(text.encode(errors="replace"))
        if total > MAX_TEXT:
            limit = f"{MAX_TEXT >> 20} MiB of text together"
            raise Permanent(f"files[{at}]: expected at most {limit}: put documents into a KnowledgeBase")
        found[name] = Finding(name, text, file=True)
    return tuple(found.values())
