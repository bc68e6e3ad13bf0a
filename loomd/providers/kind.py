"""Kind Provider."""

from typing import Annotated, Any

from loomd.manifest.kind import Kind, Shorthand
from loomd.manifest.oneof import OneOf
from loomd.providers.service import SERVICES

_HEADS: dict[str, dict[str, object]] = {
    **{name: {"type": name} for name in ("anthropic", "gemini", "local")},
    **{name: {"type": "openai", "service": name} for name in SERVICES},
}


def _import_spec() -> Any:
    from loomd.providers.base import ProviderSpec  # noqa: PLC0415  # only manifests of this kind need it

    return Annotated[ProviderSpec, OneOf("loomd.providers")]


KIND = Kind(
    name="Provider",
    plural="providers",
    import_spec=_import_spec,
    summary="A model that answers: a remote service, the embedded model, or scripted replies.",
    shorthand=Shorthand("model", _HEADS),
)
