"""The pictures of a task: kept once by their content, and left out of its record.

A record says of each picture its form and its digest; the content lies beside what was sent to the task, and goes with
it. What pictures there may be is in `tasks.attached`. Called by the engine and by `replay.export`.
"""

import hashlib

import msgspec

from loomd.amoeba.task import Task
from loomd.errors import Permanent
from loomd.messages import Image
from loomd.store.base import Store

_DIGEST = "sha256:"


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
