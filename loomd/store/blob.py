"""Contents that are kept once, by their SHA-256: files of revisions, and large values of the journal. SQL only.

They leave with the last who refers to them. Called by `chain`, `history` and `retention` on the writer's thread, inside
its transaction.
"""

import hashlib
import sqlite3
from collections.abc import Iterable

_KEEP = "INSERT INTO blobs VALUES (?, ?) ON CONFLICT (digest) DO UPDATE SET data = excluded.data"
_DROP = """
DELETE FROM blobs WHERE digest = ?1
AND NOT EXISTS (SELECT 1 FROM files WHERE digest = ?1) AND NOT EXISTS (SELECT 1 FROM journal WHERE blob = ?1)
"""


def keep(db: sqlite3.Connection, data: bytes) -> str:
    """Store contents unless they are there, and return their digest; contents that were damaged are mended."""
    digest = digest_of(data)
    db.execute(_KEEP, (digest, data))
    return digest


def drop(db: sqlite3.Connection, digests: Iterable[str]) -> None:
    """Remove those contents to which nothing refers any more."""
    db.executemany(_DROP, [(digest,) for digest in digests])


def digest_of(data: bytes) -> str:
    """Return the name of contents, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
