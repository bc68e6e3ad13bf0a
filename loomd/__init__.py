"""The control plane for living agents: manifests in, answered and evaluated tasks out.

Importing the package costs nothing: it holds the version, and `open`, which loads the rest when it is used. The parts
live in the folders, one noun each; `docs/explanation/architecture.md` draws the floors.
"""

TYPE_CHECKING = False  # that of `typing` takes longer to import than all of this
if TYPE_CHECKING:
    from loomd.embed import Embedded, open  # noqa: A004  # read as `loomd.open`

__all__ = ["Embedded", "open"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Return what programs use of `loomd.embed`, loading it first.

    Raises:
        AttributeError: there is no such name.
    """
    if name in __all__:
        from loomd import embed  # noqa: PLC0415  # brings all that runs tasks

        return getattr(embed, name)
    raise AttributeError(f"module 'loomd' has no attribute {name!r}")
