"""Kind Provider."""

from typing import Annotated

from loomd.manifest.kind import Kind
from loomd.manifest.oneof import OneOf
from loomd.providers.base import ProviderSpec

KIND = Kind(
    name="Provider",
    plural="providers",
    spec=Annotated[ProviderSpec, OneOf("loomd.providers")],
    summary="A model that answers: a remote service, the embedded model, or scripted replies.",
)
