"""Changes of files as a patch, which `git apply` and `patch -p1` take from the folder that the paths start from."""

import difflib

_UNENDED = b"\n\\ No newline at end of file\n"


def patch_of(name: str, before: bytes, after: bytes) -> bytes:
    """Return the patch of one file that is there.

    Args:
        name: its path with `/`, from the folder in which the patch is applied.
        before: its contents.
        after: what they are to be.
    """
    tail = "\t" if " " in name else ""  # where a name ends could not be told otherwise
    old, new = (f"{side}/{name}{tail}".encode() for side in ("a", "b"))
    lines = difflib.diff_bytes(difflib.unified_diff, _lines(before), _lines(after), old, new)
    return b"".join(line if line.endswith(b"\n") else line + _UNENDED for line in lines)


def _lines(data: bytes) -> list[bytes]:
    """Return lines with their ends; a line ends at a line feed alone, as git has it."""
    *whole, last = data.split(b"\n")
    return [line + b"\n" for line in whole] + ([last] if last else [])
