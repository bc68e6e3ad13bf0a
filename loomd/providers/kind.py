"""Kind Provider."""

from typing import Annotated

from loomd.manifest.kind import Kind, Shorthand
from loomd.manifest.oneof import OneOf
from loomd.providers.base import ProviderSpec
from loomd.providers.service import SERVICES

_HEADS: dict[str, dict[str, object]] = {
    **{name: {"type": name} for name in ("anthropic", "gemini", "local")},
    **{name: {"type": "openai", "service": name} for name in SERVICES},
}

KIND = Kind(
    name="Provider",
    plural="providers",
    spec=Annotated[ProviderSpec, OneOf("loomd.providers")],
    summary="A model that answers: a remote service, the embedded model, or scripted replies.",
    shorthand=Shorthand("model", _HEADS),
)
