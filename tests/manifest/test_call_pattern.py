"""Patterns of tool calls."""

import time
from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter, ValidationError

from loomd.manifest.call_pattern import CallPattern, Glob, read_calls

VALID: TypeAdapter[str] = TypeAdapter(Annotated[CallPattern, "a pattern"])


@pytest.mark.parametrize(
    ("pattern", "tool", "arguments", "fits"),
    [
        ("files", "files", {"action": "write"}, True),
        ("files", "files2", {}, False),
        ("fi*", "files", {}, True),
        ("*", "anything", {}, True),
        ("a*b*c", "a-b-b-c", {}, True),
        ("a*b*c", "a-c-b", {}, False),
        ("ab*ba", "aba", {}, False),
        ("files(action=write)", "files", {"action": "write"}, True),
        ("files(action=write)", "files", {"action": "Write"}, False),
        ("files(action=write)", "files", {}, False),
        ("files(action=*)", "files", {}, False),
        ("files(action=write, path=/etc/*)", "files", {"action": "write", "path": "/etc/passwd"}, True),
        ("files(action=write, path=/etc/*)", "files", {"action": "write", "path": "/home"}, False),
        ("git(command=push *)", "git", {"command": "push origin main\nrm"}, True),
        ("git(command=push *)", "git", {"command": "push"}, False),
        ("pay(amount=5)", "pay", {"amount": 5}, True),
        ("pay(amount=5)", "pay", {"amount": "5"}, True),
        ("pay(dry=false)", "pay", {"dry": False}, True),
        ("pay(to=null)", "pay", {"to": None}, True),
        ("pay(to.name=ann)", "pay", {"to": {"name": "ann"}}, True),
        ("pay(to.name=ann)", "pay", {"to": "ann"}, False),
        (r'pay(to={"a":1\,"b":2})', "pay", {"to": {"b": 2, "a": 1}}, True),
        (r"calc(term=2\*3)", "calc", {"term": "2*3"}, True),
        (r"calc(term=2\*3)", "calc", {"term": "2+3"}, False),
        (r"calc(term=a\\b)", "calc", {"term": "a\\b"}, True),
        ("sql(query=select count(*) from*)", "sql", {"query": "select count(id) from t"}, True),
        ("say(text=)", "say", {"text": ""}, True),
    ],
)
def test_what_fits(pattern: str, tool: str, arguments: dict[str, Any], *, fits: bool) -> None:
    """Names and values are globs; all conditions must hold; everything but text is compared as JSON."""
    assert VALID.validate_python(pattern) == pattern
    calls = read_calls(pattern)
    assert calls.fits(tool, arguments) is fits
    assert calls.fits_whole(tool, arguments) is fits


@pytest.mark.parametrize(
    ("value", "some", "whole"),
    [
        (["/a/x", "/b"], True, False),
        (["/a/x", "/a/y"], True, True),
        ([["/a/x"], "/b"], True, False),
        ([], False, False),
    ],
)
def test_of_a_list_one_item_or_all(value: object, *, some: bool, whole: bool) -> None:
    """What forbids fits when one item does; what allows fits when all do, and never nothing at all."""
    calls = read_calls("files(paths=/a/*)")
    assert calls.fits("files", {"paths": value}) is some
    assert calls.fits_whole("files", {"paths": value}) is whole
    inside = read_calls("mail(to.name=ann)")
    assert inside.fits("mail", {"to": [{"name": "ann"}, {"name": "bob"}]})
    assert not inside.fits_whole("mail", {"to": [{"name": "ann"}, {}]})


def test_numbers_are_compared_as_numbers() -> None:
    """A model that writes 200.0 means 200, and gets past no pattern by it."""
    calls = read_calls("pay(amount=200)")
    assert calls.fits("pay", {"amount": 200.0})
    assert calls.fits("pay", {"amount": 200})
    assert not calls.fits("pay", {"amount": 200.5})
    assert not calls.fits("pay", {"amount": float("inf")})


@pytest.mark.parametrize(
    "pattern",
    ["", "files(", "files()", "files(a)", "files(a=1", "files a", "files(a=1) ", "(a=1)", r"f(a=\n)", "f(a=1,)", "é"],
)
def test_what_is_no_pattern(pattern: str) -> None:
    """It is refused where it is written."""
    with pytest.raises(ValidationError):
        VALID.validate_python(pattern)


def test_no_pattern_is_slow() -> None:
    """A pattern of many stars and a text that almost fits take no time."""
    started = time.process_time()
    assert not Glob(tuple(["a"] * 200 + ["b"])).fits("a" * 200_000)
    assert time.process_time() - started < 1
