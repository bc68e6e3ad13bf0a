"""The audit file."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from loomd.messages import Message, Reply, Request, ToolCall, Usage
from loomd.testing import VirtualClock

PLACE = Path("state/interceptor/default/it")


def lines(folder: Path, name: str = "audit.jsonl") -> list[dict[str, Any]]:
    """Return what was written down."""
    return [json.loads(line) for line in (folder / PLACE / name).read_text().splitlines()]


async def test_who_did_what_when(interceptor: Any, context: Any, tmp_path: Path) -> None:
    """Each moment is a line with task, agent, hash and size; texts and what may be a secret are not in it."""
    call = ToolCall("c1", "send", {"to": "ann", "password": "hunter2 & co"})
    async with interceptor({"type": "audit"}, clock=VirtualClock(5.0)) as live:
        await live.before_run("the goal", context)
        await live.before_model(Request((Message("user", "the goal"),)), context)
        await live.after_model(Request(()), Reply("the answer", usage=Usage(1, 2), model="m"), context)
        await live.before_tool(call, context)
        await live.after_tool(call, "the result", context)
        await live.after_run("the answer", context)
    found = lines(tmp_path)
    assert [line["moment"] for line in found] == [
        *("beforeRun", "beforeModel", "afterModel", "beforeTool", "afterTool", "afterRun")
    ]
    assert {(line["task"], line["agent"], line["namespace"], line["time"]) for line in found} == {
        ("t1", "ada", "default", 5.0)
    }
    assert found[0]["sha256"] == hashlib.sha256(b"the goal").hexdigest()
    assert found[2]["tokens"] == 3
    assert found[3]["arguments"] == {"to": "ann", "password": "***"}
    text = (tmp_path / PLACE / "audit.jsonl").read_text()
    assert "the goal" not in text
    assert "hunter2" not in text
    assert (tmp_path / PLACE / "audit.jsonl").stat().st_mode & 0o777 == 0o600


async def test_it_is_only_added_to(interceptor: Any, context: Any, tmp_path: Path) -> None:
    """Opened again it goes on; half a line that a crash left does not spoil the next one; full files are kept."""
    async with interceptor({"type": "audit"}) as live:
        await live.before_run("one", context)
    path = tmp_path / PLACE / "audit.jsonl"
    with path.open("ab") as file:
        file.write(b'{"half":')
    async with interceptor({"type": "audit", "maxSize": "1Ki"}) as live:
        for at in range(12):
            await live.before_run(f"{at}", context)
    first = (tmp_path / PLACE / "audit-000001.jsonl").read_text().splitlines()
    assert json.loads(first[0])["sha256"] == hashlib.sha256(b"one").hexdigest()
    assert first[1] == '{"half":'
    assert json.loads(first[2])["sha256"] == hashlib.sha256(b"0").hexdigest()
    names = sorted(one.name for one in (tmp_path / PLACE).iterdir())
    assert names[:2] == ["audit-000001.jsonl", "audit-000002.jsonl"]


async def test_what_cannot_be_written_is_a_failure(interceptor: Any, context: Any, tmp_path: Path) -> None:
    """A call that cannot be written down does not pass, unless the manifest says so; a link is not followed."""
    async with interceptor({"type": "audit"}) as live:
        (tmp_path / PLACE / "audit.jsonl").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(OSError, match="audit"):
            await live.before_run("one", context)
    assert not (tmp_path / "elsewhere").exists()
