"""Requests as bytes."""

import gc
import json

from loomd.encoded import Encoded, to_json
from loomd.messages import Message
from loomd.providers.encoding import Envelope, array


def test_a_message_is_encoded_once() -> None:
    """What was encoded is used again for the same object, and only for that."""
    seen: list[str] = []

    def encode(message: Message) -> bytes:
        seen.append(message.text)
        return to_json(message.text)

    encoded, first, second = Encoded(encode), Message("user", "a"), Message("user", "b")
    assert encoded.all([first]) == [b'"a"']
    assert encoded.all([first, second]) == [b'"a"', b'"b"']
    assert encoded.all([Message("user", "a")]) == [b'"a"']
    assert seen == ["a", "b", "a"]


def test_nothing_is_kept_for_longer_than_its_message() -> None:
    """The bytes go with the message, also when it was part of a circle."""
    encoded = Encoded[Message](lambda message: to_json(message.text))
    messages = [Message("user", str(n)) for n in range(100)]
    encoded.all(messages)
    assert len(encoded) == 100
    messages.append(messages)  # type: ignore[arg-type]  # a circle, as garbage collection finds them
    del messages
    gc.collect()
    assert len(encoded) == 0


def test_text_that_is_no_unicode() -> None:
    """Lone surrogates, as broken tools return them, do not end a call."""
    assert json.loads(to_json({"text": "a\ud800b", "n": 2**70})) == {"text": "a?b", "n": 2**70}


def test_an_envelope() -> None:
    """Fields of a request win over fixed ones, and those of the manifest over both."""
    envelope = Envelope({"model": "m", "temperature": 1}, {"top_p": 0.5, "max_tokens": 9})
    fields = {"messages": array([b"1", b"2"]), "temperature": b"0", "max_tokens": b"1"}
    expected = {"model": "m", "temperature": 0, "messages": [1, 2], "max_tokens": 9, "top_p": 0.5}
    assert json.loads(envelope.seal(fields)) == expected
