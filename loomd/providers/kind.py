"""Kind Provider."""

from loomd.manifest.kind import Kind, Shorthand
from loomd.providers.service import SERVICES

_HEADS: dict[str, dict[str, object]] = {
    **{name: {"type": name} for name in ("anthropic", "gemini", "local")},
    **{name: {"type": "openai", "service": name} for name in SERVICES},
}

KIND = Kind(
    name="Provider",
    plural="providers",
    spec_at="loomd.providers.base:ProviderSpec",
    summary="A model that answers: a remote service, the embedded model, or scripted replies.",
    types="loomd.providers",
    shorthand=Shorthand("model", _HEADS),
)
