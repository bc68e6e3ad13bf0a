"""The control plane for living agents: manifests in, answered and evaluated tasks out.

Importing the package costs nothing: it holds only the version. The parts live in the folders, one noun each;
`docs/explanation/architecture.md` draws the floors.
"""

__version__ = "0.1.0"
