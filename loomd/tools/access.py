"""What one tool object may use of its secrets at the time of a call: as they are declared and kept now.

Called by the types that reach services or start processes.
"""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from loomd.errors import Unauthorized
from loomd.manifest.keyring import Keyring, entitled
from loomd.manifest.secret import Secret
from loomd.tools.base import ToolSpec
from loomd.topology import Parts

S_co = TypeVar("S_co", bound=ToolSpec, covariant=True)


class Access(Generic[S_co]):
    """Reads the secrets of one object, and hides them in texts."""

    def __init__(self, spec: S_co, parts: Parts, address: Callable[[S_co], str]) -> None:
        """Take what was opened.

        Args:
            spec: as it was declared then.
            parts: what opened it.
            address: returns the URL that a spec speaks to: secrets are meant for its host.
        """
        self._spec = spec
        self._latest = parts.latest
        self._address = address
        self._owner = str(parts.declared.ref)
        self._keyring = Keyring(self._owner)
        self.mask = self._keyring.mask

    def declared(self) -> S_co:
        """Return the spec whose secrets may be used now.

        Raises:
            Unauthorized: they were taken away, or are meant for another host now.
        """
        item = self._latest()
        spec = self._spec if item is None else entitled(self._spec, item.spec, self._address)
        if spec is None:
            raise Unauthorized(f"{self._owner} has other secrets now; the old ones are not used any more")
        return spec

    def texts(self, field: str, values: Mapping[str, str | Secret]) -> dict[str, str]:
        """Return values by name, those that are secrets as they are now.

        Raises:
            Unauthorized: one is missing.
        """
        return self._keyring.texts(field, values)
