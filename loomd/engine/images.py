"""The pictures of a task: looked at when it is accepted, kept once by their content, and left out of its record.

A record says of each picture its form and its digest; the content lies beside what was sent to the task, and goes with
it. Called by the engine, by whoever accepts tasks, and by `replay.export`.
"""

import base64
import binascii
import hashlib

import msgspec

from loomd.amoeba.task import Task
from loomd.errors import Permanent
from loomd.messages import Image, MediaType
from loomd.store.base import Store

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
_DIGEST = "sha256:"


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


def lean(task: Task) -> Task:
    """Return a task as it is kept and shown: of its pictures only the digests."""
    if not task.images:
        return task
    images = tuple(msgspec.structs.replace(image, data=_mark(image)) for image in task.images)
    return msgspec.structs.replace(task, images=images)


async def keep(store: Store, task: Task, now: float) -> None:
    """Keep the contents of a task's pictures; what is kept already stays as it is."""
    for image in task.images:
        await store.put_signal(task.id, _place(_mark(image)), image.data.encode(), now)


async def filled(store: Store, task: Task) -> Task:
    """Return a task with the contents of its pictures, which are those of the task that it is a part of.

    Raises:
        Permanent: one is not kept.
    """
    images: list[Image] = []
    for image in task.images:
        if image.data.startswith(_DIGEST):
            body = await store.get_signal(task.id.partition(".")[0], _place(image.data))
            if body is None:
                raise Permanent(f"Task/{task.id}: its image {image.data} is not kept: submit it again")
            image = msgspec.structs.replace(image, data=body.decode())  # noqa: PLW2901  # the same, whole
        images.append(image)
    return msgspec.structs.replace(task, images=tuple(images)) if images else task


def _mark(image: Image) -> str:
    """Return the digest of a picture's content."""
    return image.data if image.data.startswith(_DIGEST) else _DIGEST + hashlib.sha256(image.data.encode()).hexdigest()


def _place(digest: str) -> str:
    """Return the name under which a content is kept; nobody can send a signal of such a name."""
    return f"image/{digest}"
