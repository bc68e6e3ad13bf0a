"""Kind GitSource."""

from loomd.manifest.kind import Kind

KIND = Kind("GitSource", "gitsources", "loomd.sources.spec:GitSourceSpec", "Manifests that follow a git repository.")
