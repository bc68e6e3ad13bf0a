"""What takes skills up."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from loomd.manifest.object import Ref
from loomd.manifest.oneof import find_types
from loomd.skills.kind import KIND
from loomd.skills.triggers.base import Trigger
from loomd.testing import open_spec

TEXT = {"instructions": "x", "description": "Fill in forms of PDF documents."}


async def found(skill: Any, trigger: Mapping[str, object], text: str, live: Any = None) -> Any:
    """Return how a task fits a skill with one trigger."""
    async with skill({**TEXT, "triggers": [trigger]}, live=live) as skills:
        return (await skills.fits(text)).get("it")


@pytest.mark.parametrize(
    ("keywords", "text", "fits"),
    [
        pytest.param(["tide"], "When is high tide?", True, id="word"),
        pytest.param(["tide"], "TIDE tables", True, id="case"),
        pytest.param(["tide"], "a tidy room", False, id="part-of-a-word"),
        pytest.param(["high tide"], "the high-tide mark", True, id="phrase"),
        pytest.param(["flut", "straße"], "in der STRASSE", True, id="unicode"),
        pytest.param(["moon"], "", False, id="empty-text"),
    ],
)
async def test_keyword(skill: Any, keywords: list[str], text: str, *, fits: bool) -> None:
    """A keyword stands in the text as a word."""
    fit = await found(skill, {"type": "keyword", "keywords": keywords}, text)
    assert (fit is not None) is fits
    if fit:
        assert (fit.trigger, fit.why, fit.score) == ("keyword", f'the task says "{keywords[-1]}"', 1.0)


@pytest.mark.parametrize(
    ("pattern", "text", "shown"),
    [
        pytest.param(r"(?i)\bpr #\d+", "look at PR #12 please", "PR #12", id="found"),
        pytest.param(r"\bPR #\d+", "look at pr #12", None, id="case"),
        pytest.param("ü+$", "grüüü", "üüü", id="unicode"),
        pytest.param("x", "a\ud800x", "x", id="lone-surrogate"),
        pytest.param(".+", "y" * 200, "y" * 60 + "...", id="long"),
        pytest.param("(a*)*b", "a" * 100_000, None, id="would-hang-others"),
    ],
)
async def test_pattern(skill: Any, pattern: str, text: str, shown: str | None) -> None:
    """A pattern is found anywhere, in time that grows with the text alone."""
    fit = await found(skill, {"type": "pattern", "pattern": pattern}, text)
    assert (fit.why if fit else None) == (f'the pattern {pattern} finds "{shown}"' if shown else None)


@pytest.mark.parametrize("pattern", ["(a", r"(a)\1", "(?=a)", "a{2000}{2000}"])
def test_patterns_that_re2_does_not_take(pattern: str) -> None:
    """They are a problem of the manifest."""
    with pytest.raises(ValidationError, match="expected a regular expression of RE2, got"):
        KIND.adapter.validate_python({**TEXT, "triggers": [{"type": "pattern", "pattern": pattern}]})


async def test_semantic(skill: Any, tmp_path: Path) -> None:
    """The likeness of task and description decides, and is told."""
    async with open_spec("Embedder", {"type": "hash"}, tmp_path / "embedder") as embedder:
        live = {Ref("Embedder", "words"): embedder}
        trigger = {"type": "semantic", "embedder": "words", "threshold": 0.4}
        fit = await found(skill, trigger, "Fill in the forms of these documents", live)
        assert fit.trigger == "semantic"
        assert 0.4 < fit.score < 1
        assert fit.why == f"the task is {fit.score:.2f} like its description, 0.4 is enough"
        assert await found(skill, {**trigger, "threshold": 0.99}, "Fill in the forms of these documents", live) is None
        assert await found(skill, trigger, "", live) is None


class Counting:
    """An embedder that counts what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def embed(self, texts: Any) -> Any:
        """Return equal vectors."""
        np = pytest.importorskip("numpy")
        self.asked.append(len(texts))
        return np.ones((len(texts), 1), np.float32)


async def test_descriptions_are_embedded_once(skill: Any, write: Any) -> None:
    """However many tasks come, only those are embedded anew."""
    for name in ("a", "b"):
        write(f"s/{name}")
    embedder = Counting()
    triggers = [{"type": "semantic", "embedder": "words"}]
    async with skill({"directory": "s", "triggers": triggers}, live={Ref("Embedder", "words"): embedder}) as skills:
        assert list(await skills.fits("one")) == ["a", "b"]
        assert list(await skills.fits("two")) == ["a", "b"]
    assert embedder.asked == [2, 1, 1]


@pytest.mark.parametrize("name", find_types("loomd.skills.triggers", Trigger))
async def test_every_type(skill: Any, write: Any, name: str) -> None:
    """Whatever a trigger declares, it says of each skill whether a task fits, why, and how sure that is."""
    for one in ("a", "b", "c"):
        write(f"s/{one}")
    fields: dict[str, dict[str, object]] = {
        "keyword": {"keywords": ["go"]},
        "pattern": {"pattern": "go"},
        "semantic": {"embedder": "words"},
    }
    trigger = {"type": name, **fields.get(name, {})}
    async with skill({"directory": "s", "triggers": [trigger]}, live={Ref("Embedder", "words"): Counting()}) as skills:
        found = await skills.fits("go")
        assert list(found) in (["a", "b", "c"], [])
        assert all(fit.trigger == name and fit.why and 0 < fit.score <= 1 for fit in found.values())


@pytest.mark.parametrize(("trigger", "fits", "offered"), [("always", True, False), ("manual", False, False)])
async def test_always_and_manual(skill: Any, trigger: str, *, fits: bool, offered: bool) -> None:
    """One takes every task, the other none; neither offers the skill to the model."""
    async with skill({**TEXT, "triggers": [{"type": trigger}]}) as skills:
        assert bool(await skills.fits("anything")) is fits
        assert skills.skills["it"].offered is offered


async def test_model(skill: Any) -> None:
    """The model is offered the skill, and nothing takes it up before."""
    async with skill({**TEXT, "triggers": [{"type": "model"}]}) as skills:
        assert not await skills.fits("anything")
        assert skills.skills["it"].offered


async def test_the_first_that_fits_counts(skill: Any) -> None:
    """Triggers are asked in their order, and one that fits is enough."""
    triggers = [{"type": "keyword", "keywords": ["moon"]}, {"type": "model"}, {"type": "always"}]
    async with skill({**TEXT, "triggers": triggers}) as skills:
        assert (await skills.fits("the moon"))["it"].trigger == "keyword"
        assert (await skills.fits("the sun"))["it"].trigger == "always"
