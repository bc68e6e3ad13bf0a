"""Signs of a prompt injection: texts from outside that talk to the model instead of being read by it.

A small set of rules for English, meant as a tripwire: it finds what is written for everybody to copy, and nobody who
takes pains. Each rule is a pattern of RE2. Called by `guard`.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from loomd.manifest.regexp import compiled, found, replaced

RULES: Mapping[str, str] = MappingProxyType(
    {
        "override": (
            r"(?i)\b(?:ignore|disregard|forget|override|bypass)\b(?:\s+\w+){0,4}?\s+(?:previous|prior|above|earlier"
            r"|preceding|existing|system|your)\s+(?:\w+\s+){0,2}?(?:instructions?|prompts?|rules?|directions?|guidelines?"
            r"|context)\b"
        ),
        "newInstructions": (
            r"(?i)\b(?:new|updated|real|actual|important)\s+(?:\w+\s+)?instructions?\s*(?:for\s+(?:you|the\s+(?:ai|"
            r"assistant|agent|model)))?\s*:"
        ),
        "role": r"(?i)\b(?:you\s+are\s+now|from\s+now\s+on,?\s+you\s+(?:are|will|must|act))\b",
        "markup": (
            r"(?i)<\|?\s*/?\s*(?:system|im_start|im_end|endoftext|assistant)\s*\|?>|\[/?INST\]|<</?SYS>>"
            r"|(?m:^\s*(?:#{1,6}\s*)?(?:system|assistant)(?:\s+(?:prompt|message))?\s*:)"
        ),
        "secrecy": (
            r"(?i)\b(?:do\s+not|don't|never|without)\s+(?:tell|telling|inform|informing|mention|mentioning|alert|alerting"
            r"|notify|notifying)(?:\s+\w+){0,3}?\s+(?:the\s+)?(?:user|human|operator|person)\b"
        ),
        "reveal": (
            r"(?i)\b(?:reveal|print|show|repeat|output|disclose|leak)\b(?:\s+\w+){0,3}?\s+(?:system|initial|hidden"
            r"|original)\s+(?:prompt|instructions?|message)\b"
        ),
        "exfiltrate": (
            r"(?i)\b(?:send|post|forward|upload|e-?mail|transmit)\b(?:\s+\w+){0,6}?\s+(?:conversation|chat\s+history"
            r"|secrets?|passwords?|credentials?|api\s+keys?|tokens?|system\s+prompt)\b(?:\s+\w+){0,4}?\s+to\b"
        ),
        "hidden": r"[\x{E0000}-\x{E007F}]|[\x{202A}-\x{202E}\x{2066}-\x{2069}]|[\x{200B}\x{200C}\x{2060}]{3,}",
    }
)
"""What each rule looks for: orders to drop earlier instructions; announced new ones; another role for the model; the
marks of chat formats; orders to keep quiet about something; to show the system prompt; to send secrets somewhere; and
characters that no reader sees."""


def signs(text: str) -> Iterator[str]:
    """Yield the names of the rules that a text breaks."""
    return (name for name, pattern in _patterns() if found(pattern, text) is not None)


def without(text: str, mask: str) -> str:
    """Return a text with everything replaced that breaks a rule."""
    for _, pattern in _patterns():
        text = replaced(pattern, text, mask)
    return text


@cache
def _patterns() -> tuple[tuple[str, Any], ...]:
    return tuple((name, compiled(pattern)) for name, pattern in RULES.items())
