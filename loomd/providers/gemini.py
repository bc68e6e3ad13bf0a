"""Gemini: a provider for Google's models, over the chat-completions protocol that Google offers for them."""

from typing import Literal

from loomd.providers.base import ProviderSpec
from loomd.providers.openai import Compatible
from loomd.providers.service import Service

_SERVICE = Service("https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY")


class Gemini(Compatible, ProviderSpec):
    """A model of Google. The key is read at the start, and again when it changes."""

    type: Literal["gemini"] = "gemini"

    @property
    def known(self) -> Service:
        """Return what is known of the service."""
        return _SERVICE
