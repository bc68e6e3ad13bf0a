"""The process that reads documents which may be hostile: one after the other, with bounded memory, from a pipe.

A request is a line of JSON (format, suffix, size, limits) and the bytes; a reply is a line with its length, and
MessagePack. Whoever asks ends this process when it takes too long. Started by `isolated`; does nothing when imported.
"""

import ctypes
import os
import resource
import signal
import sys
from typing import BinaryIO

import msgspec

from loomd.knowledge.formats.base import BadDocument, Content, Limits
from loomd.knowledge.formats.known import find_formats

MEMORY = 1 << 30
"""Most bytes that the process may take; a document that needs more is left out."""


class Question(msgspec.Struct):
    """What is to be read: the name of its format, the suffix of its name, how many bytes follow, and the limits."""

    format: str
    suffix: str
    size: int
    limits: Limits


class Reply(msgspec.Struct):
    """What it holds, or why it cannot be read."""

    content: Content | None = None
    reason: str = ""


def answer(question: Question, data: bytes) -> Reply:
    """Return what a document holds; whatever a parser raises is a reason to leave the document out."""
    try:
        return Reply(find_formats()[question.format].read(data, question.suffix, question.limits))
    except BadDocument as error:
        return Reply(reason=str(error))
    except MemoryError:
        return Reply(reason="needs more memory than a document may take: split it, or exclude it")
    except RecursionError:
        return Reply(reason="is nested too deeply: mend it, or exclude it")
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        name = type(error).__name__
        return Reply(reason=f"cannot be read as {question.format} ({name}: {said}): mend it, or exclude it")


def serve(asked: BinaryIO, told: BinaryIO) -> None:
    """Answer until nobody asks any more."""
    decoder, encoder = msgspec.json.Decoder(Question), msgspec.msgpack.Encoder()
    for line in iter(asked.readline, b""):
        question = decoder.decode(line)
        reply = encoder.encode(answer(question, asked.read(question.size)))
        told.write(b"%d\n" % len(reply))
        told.write(reply)
        told.flush()


def _bound() -> None:
    """Limit the memory of this process, and let the kernel end it with the one that asks."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    allowed = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, most))
    if sys.platform == "linux":
        parent_gone = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(parent_gone, signal.SIGKILL)


if __name__ == "__main__":
    _bound()
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a parser prints is no reply
    serve(sys.stdin.buffer, replies)
