"""Kind Test."""

from typing import Any

from loomd.manifest.kind import Kind


def _import_spec() -> Any:
    from loomd.trials.spec import TrialSpec  # noqa: PLC0415  # only manifests of this kind need it

    return TrialSpec


KIND = Kind(
    "Test", "tests", _import_spec, "A task whose replies are given, and what must come of it; for `loomd test`."
)
