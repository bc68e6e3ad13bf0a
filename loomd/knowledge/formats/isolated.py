"""Reads documents, the formats that may be hostile in a process of their own: one that hangs or dies costs a document.

The process is begun when one is needed and ended when nothing is left to read. Blocks: called in the thread of a
knowledge base.
"""

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from loomd.knowledge.formats.base import BadDocument, Content, Limits
from loomd.knowledge.formats.child import Question, Reply
from loomd.knowledge.formats.known import find_formats, suffix_of

_MODULE = "loomd.knowledge.formats.child"
_SHARED = 64 << 10


class Reader:
    """Reads documents until it is closed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._replies = msgspec.msgpack.Decoder(Reply)
        self._late = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process; the next document begins another one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def read(self, format_name: str, path: str, data: bytes, limits: Limits) -> Content:
        """Return what a document holds.

        Args:
            format_name: a name of `find_formats`.
            path: its name; the end of it may say more of the format.
            data: its bytes.
            limits: what reading it may take.

        Raises:
            BadDocument: it cannot be read.
        """
        found = find_formats()[format_name]
        suffix = suffix_of(path)
        if not found.isolated:
            return found.read(data, suffix, limits)
        question = Question(format_name, suffix, len(data), limits)
        reply = self._ask(question, data)
        if reply.content is None:
            raise BadDocument(reply.reason)
        return reply.content

    def _ask(self, question: Question, data: bytes) -> Reply:
        process = self._begin()
        timer = threading.Timer(question.limits.seconds, self._end, [process])
        timer.daemon = True
        timer.start()
        try:
            return self._exchange(process, question, data)
        except (OSError, ValueError, EOFError, msgspec.DecodeError) as error:
            self.close()
            if self._late:
                raise BadDocument(
                    f"takes longer than {question.limits.seconds:g} s to read, which is maxTime: "
                    "split it, raise maxTime, or exclude it"
                ) from error
            raise BadDocument("ended the process that read it: mend it, or exclude it") from error
        finally:
            timer.cancel()

    def _exchange(self, process: "subprocess.Popen[bytes]", question: Question, data: bytes) -> Reply:
        asked, told = process.stdin, process.stdout
        assert asked is not None  # noqa: S101  # both are pipes
        assert told is not None  # noqa: S101  # both are pipes
        asked.write(msgspec.json.encode(question) + b"\n")
        for at in range(0, len(data), _SHARED):
            asked.write(data[at : at + _SHARED])
        asked.flush()
        size = told.readline()
        if not size.strip():
            raise EOFError
        return self._replies.decode(told.read(int(size)))

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        self._late = True
        process.kill()

    def _begin(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._late or self._process.poll() is not None:
            self.close()
            self._late = False
            path = os.pathsep.join(str(Path(one).absolute()) for one in sys.path)
            self._process = subprocess.Popen(  # noqa: S603  # this very program
                [sys.executable, "-P", "-m", _MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"PYTHONPATH": path},
            )
        return self._process
