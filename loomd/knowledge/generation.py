"""Which vectors of a knowledge base serve, and which are wanted in their place: written down for a restart.

Vectors of another generation have digests and a store of their own: they are made beside those that serve, as those of
another model are. Blocks: called in the thread of a knowledge base, or for a read of a few bytes.
"""

import secrets
from pathlib import Path

import msgspec

from loomd.errors import Damaged
from loomd.store.directory import settle


class Generation(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is written down; empty names are those of vectors that were never wanted anew.

    Attributes:
        serves: name of the generation that is searched.
        wanted: name of the one that is to take its place; empty when there is none.
    """

    serves: str = ""
    wanted: str = ""

    @property
    def latest(self) -> str:
        """Return the one that is to be searched in the end."""
        return self.wanted or self.serves


class Generations:
    """The generations of one knowledge base.

    Args:
        folder: of its files.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "generation.json"

    def read(self) -> Generation:
        """Return what is written down.

        Raises:
            Damaged: it cannot be read.
        """
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Generation)
        except FileNotFoundError:
            return Generation()
        except msgspec.MsgspecError as error:
            raise Damaged(f"{self._path}: {error}: remove it, and all documents are embedded again") from error

    def want(self) -> None:
        """Write down that all vectors are to be made anew, whatever was made for an earlier wish."""
        self._write(Generation(self.read().serves, secrets.token_hex(8)))

    def serve(self, name: str) -> None:
        """Write down which one serves now; what was wanted later is still wanted."""
        known = self.read()
        self._write(Generation(name, "" if known.wanted == name else known.wanted))

    def _write(self, generation: Generation) -> None:
        draft = self._path.with_suffix(".draft")
        draft.write_bytes(msgspec.json.encode(generation))
        settle(draft, self._path)
