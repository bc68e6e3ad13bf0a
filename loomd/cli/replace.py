"""Puts other contents into a file of the user in one step. Called by the verbs that rewrite manifests."""

import os
from pathlib import Path


def replace_file(path: Path, data: bytes) -> None:
    """Write a file in one step, through links, with the permissions that it had."""
    place = path.resolve()
    new = place.with_name(f".{place.name}.{os.getpid()}.new")
    try:
        new.write_bytes(data)
        new.chmod(place.stat().st_mode)
        new.replace(place)
    finally:
        new.unlink(missing_ok=True)
