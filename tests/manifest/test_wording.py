"""What may be a secret is hidden in the same places by everything that shows values."""

import json
from typing import Any

import pytest

from loomd.manifest.wording import HIDDEN, masked

WORD = "hunter2"
SECRET: dict[str, Any] = {
    "own-name": {"password": WORD},
    "below": {"password": {"current": WORD}},
    "list": {"tokens": {"token": [WORD]}},
    "list-below": {"secrets": [{"first": [WORD]}]},
    "no-place": {"valueFrom": {"password": WORD}},
    "place-of-something": {"apiKey": {"valueFrom": {"env": {"other": WORD}}}},
    "no-source": {"apiKey": {"valueFrom": WORD}},
    "spelled-like-a-place": {"password/valueFrom/env": WORD},
    "key-of-something": {"key": WORD, "operator": "In"},
    "default-of-a-property": {"properties": {"password": {"type": "string", "default": WORD}}},
    "property-that-is-none": {"properties": {"password": WORD}},
    "schema-of-a-secret": {"password": {"properties": {"x": {"type": WORD}}}},
    "auth": {"auth": {"pass": WORD}},
    "form": {"note": f"https://ada:{WORD}@host.example"},
}
PLAIN: dict[str, Any] = {
    "other-name": {"user": WORD},
    "env": {"apiKey": {"valueFrom": {"env": WORD}}},
    "file": {"headers": {"Authorization": {"valueFrom": {"file": WORD}}}},
    "listed-places": {"secrets": [{"valueFrom": {"env": WORD}}]},
    "selector": {"selector": {"matchExpressions": [{"key": WORD, "operator": "Exists"}]}},
    "user": {"auth": {"username": WORD}},
    "property": {"schema": {"properties": {"key": {"type": WORD}}}},
    "property-inside": {"properties": {"auth": {"items": {"properties": {"token": {"description": WORD}}}}}},
    "choices": {"properties": {"key": {"anyOf": [{"enum": [WORD]}]}}},
}


@pytest.mark.parametrize("value", SECRET.values(), ids=SECRET)
def test_what_may_be_secret_is_hidden(value: Any) -> None:
    """A name on the way to a text hides it, however deep it stands, and nothing but the text."""
    shown = masked(value)
    assert WORD not in json.dumps(shown)
    assert shown.keys() == value.keys()


@pytest.mark.parametrize("value", PLAIN.values(), ids=PLAIN)
def test_what_is_spoken_of_is_shown(value: Any) -> None:
    """The place of a secret, the label of a selector and the property of a schema are shown."""
    assert masked(value) == value


def test_a_part_is_masked_like_the_whole() -> None:
    """What stands inside is hidden by the names outside of it, which its pointer tells."""
    assert masked({"current": WORD}, "/spec/password") == {"current": HIDDEN}
