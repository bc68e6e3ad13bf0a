"""One folder, and nothing outside it: each part of a path is opened from the one before it, links are not followed.

A path is never looked up as a whole, so that nobody can swap a folder for a link between a check and its use. Called by
the `files` type, in a thread.
"""

import errno
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loomd.errors import ToolFailed

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe must not hold up whoever opens it
_PRIVATE = ".loomd-"
"""How the name of a file begins that is still being written."""


class Folder:
    """A folder that is read and changed by paths below it."""

    def __init__(self, root: Path, hidden: Path, max_file: int) -> None:
        """Take the folder.

        Args:
            root: the folder, with links resolved.
            hidden: a folder that is never reached although it may lie below: the daemon's own state.
            max_file: most bytes of a file that is read or written.
        """
        self._root = root
        self._hidden = hidden.stat()
        self._max = max_file

    def names(self, path: str) -> list[str]:
        """Return what is in a folder, sorted; folders end with `/`, and what is neither file nor folder is left out.

        Raises:
            ToolFailed: there is no such folder.
        """
        with self._folder(_parts(path), path) as at, os.scandir(at) as found:
            return sorted(_shown(entry) for entry in found if _is_plain(entry))

    def read(self, path: str) -> str:
        """Return the text of a file.

        Raises:
            ToolFailed: it is not there, no text, or too large.
        """
        data = self._bytes(path)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise ToolFailed(f'"{path}" is no text in UTF-8') from None
        if "\0" in text:
            raise ToolFailed(f'"{path}" is no text: it holds null characters')
        return text

    def write(self, path: str, text: str) -> bool:
        """Write a whole file, with the folders that it needs, at once: nobody sees a half of it; return if it is new.

        Raises:
            ToolFailed: it is too large, or something else has its name.
        """
        try:
            data = text.encode()
        except UnicodeEncodeError:
            raise ToolFailed("text: it holds what is no Unicode: leave it out") from None
        if len(data) > self._max:
            raise ToolFailed(f"text: expected at most {self._max} bytes, got {len(data)}: write less, or several files")
        *folders, name = _parts(path) or [""]
        if not name or path.endswith("/"):
            raise ToolFailed(f'expected the path of a file, got "{path}"')
        with self._folder(folders, path, make=True) as at:
            new = self._is_free(at, name, path)
            with _said(path):
                _replace(at, name, data)
        return new

    def files(self, path: str, most: int) -> Iterator[str]:
        """Yield the paths of the files in a folder and below it, in order; hidden ones are left out.

        Args:
            path: the folder.
            most: how many names are looked at.
        """
        waiting, looked = [path.strip("/")], 0
        while waiting:
            folder = waiting.pop()
            try:
                names = self.names(folder)
            except ToolFailed:
                if folder == path.strip("/"):
                    raise
                continue  # it was removed meanwhile
            deeper: list[str] = []
            for name in names:
                looked += 1
                if looked > most:
                    return
                if name.startswith("."):
                    continue
                full = f"{folder}/{name}" if folder not in ("", ".") else name
                if name.endswith("/"):
                    deeper.append(full.rstrip("/"))
                else:
                    yield full
            waiting += reversed(deeper)

    def _bytes(self, path: str) -> bytes:
        *folders, name = _parts(path) or [""]
        if not name or path.endswith("/"):
            raise ToolFailed(f'expected the path of a file, got "{path}"')
        with self._folder(folders, path) as at, _said(path):
            number = os.open(name, os.O_RDONLY | _FILE, dir_fd=at)
            with os.fdopen(number, "rb") as file:
                found = os.fstat(number)
                if not stat.S_ISREG(found.st_mode):
                    raise ToolFailed(f'"{path}" is no file')
                data = file.read(self._max + 1)
        if len(data) > self._max:
            raise ToolFailed(f'"{path}" is larger than {self._max} bytes')
        return data

    @contextmanager
    def _folder(self, parts: list[str], path: str, *, make: bool = False) -> Generator[int]:
        """Open a folder, part by part."""
        with _said(path):
            at = os.open(self._root, _FOLDER)
        try:
            for part in parts:
                with _said(path):
                    if make:
                        with suppress(FileExistsError):
                            os.mkdir(part, dir_fd=at)
                    inner = os.open(part, _FOLDER, dir_fd=at)
                os.close(at)
                at = inner
                if os.path.samestat(os.fstat(at), self._hidden):
                    raise ToolFailed(f'"{path}" is the daemon\'s own')
            yield at
        finally:
            os.close(at)

    @staticmethod
    def _is_free(at: int, name: str, path: str) -> bool:
        """Return whether nothing has a name; what has it must be a file."""
        try:
            found = os.stat(name, dir_fd=at, follow_symlinks=False)
        except FileNotFoundError:
            return True
        if not stat.S_ISREG(found.st_mode):
            raise ToolFailed(f'"{path}" is no file: write another one')
        return False


def _replace(at: int, name: str, data: bytes) -> None:
    """Put a file in the place of another, whole and on disk."""
    draft = f"{_PRIVATE}{os.getpid():x}-{os.urandom(6).hex()}"
    number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, 0o644, dir_fd=at)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(number)
        os.replace(draft, name, src_dir_fd=at, dst_dir_fd=at)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft, dir_fd=at)
        raise
    os.fsync(at)


def _parts(path: str) -> list[str]:
    """Return the names on the way to a path.

    A path has one spelling, but for a `/` behind a folder: permissions and interceptors compare it with patterns before
    it gets here.

    Raises:
        ToolFailed: the path leads out of the folder, is none, or is spelled in another way.
    """
    if path.startswith("/") or "\0" in path or "\\" in path:
        raise ToolFailed(f'expected a path such as "notes/today.md", got "{path}"')
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ToolFailed(f'expected a path that stays in the folder, got "{path}"')
    plain = "/".join(parts)
    if path not in {plain, f"{plain}/"} and not (path == "." and not parts):
        raise ToolFailed(f'expected "{plain or "."}", got "{path}": write the path without ./ and //')
    return parts


@contextmanager
def _said(path: str) -> Generator[None]:
    """Say what went wrong in words for a model, without the folder's own place."""
    try:
        yield
    except FileNotFoundError:
        raise ToolFailed(f'there is no "{path}"') from None
    except UnicodeEncodeError:
        raise ToolFailed("path: it holds what is no Unicode") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise ToolFailed(f'"{path}" is a link, and links are not followed') from None
        if error.errno == errno.ENOTDIR:
            raise ToolFailed(f'"{path}" does not lead through folders only; links are not followed') from None
        if error.errno in (errno.ENXIO, errno.EISDIR):
            raise ToolFailed(f'"{path}" is no file') from None
        raise ToolFailed(f'"{path}": {error.strerror}') from None


def _is_plain(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(_PRIVATE) and (
        entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)
    )


def _shown(entry: os.DirEntry[str]) -> str:
    return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name
