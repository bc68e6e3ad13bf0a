"""JSON that is written reads back as the same value, as JSON and as YAML."""

import json

import pytest

from loomd.manifest.document import read_documents
from loomd.manifest.json_text import write_json

ODD = [*range(0x20, 0xA1), 0x2028, 0x2029, 0xD7FF, 0xE000, 0xFEFF, 0xFFFD, 0xFFFE, 0xFFFF, 0x1F600]


@pytest.mark.parametrize("indent", [2, None], ids=["lines", "line"])
def test_it_reads_back(indent: int | None) -> None:
    """Whatever a text holds, and wherever: a line break of Unicode is no space, and no control character is refused."""
    value = {f"{code:x}": [f"a{chr(code)}b", f"{chr(code)}\n{chr(code)}", f"{chr(code)}x"] for code in ODD}
    text = write_json({"spec": value}, indent)
    (document,), problems = read_documents(text.encode(), "it.json")
    assert problems == []
    assert document.value == {"spec": value}
    assert json.loads(text) == {"spec": value}


def test_people_read_it() -> None:
    """Letters of any language stay as they are."""
    assert write_json({"a": "Grüße, 世界"}, None) == '{"a": "Grüße, 世界"}'


def test_what_is_no_text_can_be_printed() -> None:
    """Half a character, which JSON may spell, is spelled the same way."""
    assert write_json("\ud800") == '"\\ud800"'
