"""Kind GitSource."""

from typing import Any

from loomd.manifest.kind import Kind


def _import_spec() -> Any:
    from loomd.sources.spec import GitSourceSpec  # noqa: PLC0415  # only manifests of this kind need it

    return GitSourceSpec


KIND = Kind("GitSource", "gitsources", _import_spec, "Manifests that follow a git repository.")
