"""Every field takes effect when its schema says: each field of each type of each kind is found and tried.

A field that is `immediate` changes what a running task finds in the live things that it holds; one of `new-tasks`
changes nothing of them, and opens the object anew for tasks that start later.
"""

import dataclasses
from collections.abc import AsyncGenerator, Generator, Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from loomd.accounts.account import Accounts
from loomd.agents.agent import Agent
from loomd.agents.base import ToolSet
from loomd.amoeba.task import Budget
from loomd.cluster.cluster import Cluster
from loomd.daemon import Settings, System, open_system
from loomd.embedders.openai import ServiceEmbedder
from loomd.errors import LoomdError, NotFound
from loomd.interceptors.redact import Redactor
from loomd.knowledge.extractors.model import Reading
from loomd.knowledge.knowledge import KnowledgeBase
from loomd.knowledge.rerankers.cross_encoder import CrossEncoder
from loomd.manifest.convert import convert
from loomd.manifest.delivery import Delivery
from loomd.manifest.kind import find_kinds
from loomd.manifest.object import Object, Ref, Snapshot
from loomd.manifest.places import Document
from loomd.manifest.problem import Position
from loomd.manifest.secret import Secret
from loomd.manifest.source import SourceFile
from loomd.memory.base import LiveMemory
from loomd.messages import Message, Reply, Request
from loomd.models.place import models_dir
from loomd.models.registry import locate
from loomd.reconcile.plan import Plan, diff
from loomd.tools.base import LiveTool
from loomd.tools.toolset import Listing
from tests.providers.tapes import tape
from tests.reconcile.fields import API, Field, examples, fields, named

FIELDS = list(fields())
HELD = [field for field in FIELDS if field.kind.name not in {"GitSource", "Schedule", "Task", "Test"}]
"""The fields of what tasks hold; the others do nothing by being open, see their own tests."""
NAMES = {kind: ["alpha", "beta"] for kind in find_kinds()}
"""What references name, by kind."""
PACKAGES = ("acme_one", "acme_two")
"""Modules whose functions tools may name."""
IT = "it"
"""The object whose field changes."""
SECRETS = (
    "ANTHROPIC_API_KEY",
    "DEEPSEEK_API_KEY",
    "GEMINI_API_KEY",
    "GROQ_API_KEY",
    "OPENAI_API_KEY",
    "API_KEY",
    "WIKI_TOKEN",
    "LIBRARY_TOKEN",
)
"""Variables that hold a secret."""

PARTS: dict[str, dict[str, Any]] = {
    "Provider": {"type": "scripted", "replies": [{"text": "yes", "times": None}]},
    "Embedder": {"type": "hash"},
    "Tool": {"type": "python", "file": "tools/calc.py", "function": "add"},
    "Skill": {"instructions": "Be brief.", "description": "Few words."},
    "Interceptor": {"type": "template", "prefix": "Be brief."},
    "Memory": {},
    "KnowledgeBase": {"sources": [{"type": "files", "path": "docs"}], "embedder": "alpha"},
    "Agent": {"provider": "alpha"},
    "Blueprint": {"provider": "alpha", "description": "Knows it."},
}
"""What the objects are that references name."""


def together(some: Iterable[Field]) -> list[list[Field]]:
    """Return fields by type, ten at a time: two thousand tests, one for each, would cost more than what they do."""
    types = groupby(some, key=lambda field: (field.kind.name, field.presets[:1]))
    alike = [list(found) for _, found in types]
    return [found[at : at + 10] for found in alike for at in range(0, len(found), 10)]


def of_type(some: list[Field]) -> str:
    """Return the id of fields of one type."""
    return "-".join((some[0].kind.name, *(str(value) for _, value in some[0].presets[:1])))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path, None, None]:
    """Yield a folder with every file that an example names."""
    place = tmp_path_factory.mktemp("fields")
    tool = 'def add(a: int) -> int:\n    """Add one."""\n    return a + 1\n\n\nmore = lambda a: a\n'
    tool = tool.replace("more = lambda a: a", 'def more(a: int) -> int:\n    """Add more."""\n    return a + 2')
    skill = "---\nname: review\ndescription: Reviews.\n---\nLook NUMBER.\n"
    files = {"tools/calc.py": tool, "tools/other.py": tool, "docs/a.md": "# A\n\nText.\n", "docs/x": "x"}
    files |= {"skills/review.md": skill, "other/SKILL.md": skill.replace("NUMBER", "twice")}
    files |= {".agents/skills/review/SKILL.md": skill, "more/review/SKILL.md": skill}
    said = tape((Request((Message("user", "hello"),)), Reply("yes"))).decode()
    files |= {"apis/library.yaml": yaml.safe_dump(API), "other.yaml": yaml.safe_dump(API), "data/x": "x"}
    files |= {"recordings/late-fee.json": said, "other.json": said}
    files |= {"acme_one.py": tool, "acme_two.py": tool}
    files |= {"model.gguf": "GGUF", "other.gguf": "GGUF", "x": "secret-x", "b": "secret-b"}
    for path, text in files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        for name in SECRETS:
            patch.setenv(name, f"secret-{name}")
        patch.chdir(place)  # a secret's file is named from there
        patch.syspath_prepend(str(place))  # where a package is found
        yield place


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(folder: Path) -> AsyncGenerator[System, None]:
    """Yield a system with nothing but what references name."""
    async with open_system(Settings(folder / "state", models_dir(), folder / "s", allow_packages=PACKAGES)) as opened:
        others = examples()
        documents = [named(kind, name, spec) for kind, spec in PARTS.items() for name in {*NAMES[kind], *others[kind]}]
        data = yaml.safe_dump_all(documents, sort_keys=False).encode()
        await opened.reconciler.apply(Delivery("parts", (SourceFile(folder, "parts.yaml", data),)))
        yield opened


async def serve(system: System, folder: Path, document: dict[str, Any]) -> Plan:
    """Make the object serve as a document declares it."""
    data = yaml.safe_dump({**document, "metadata": {"name": IT}}, sort_keys=False).encode()
    return await system.reconciler.apply(Delivery("it", (SourceFile(folder, "it.yaml", data),)))


def is_pulled(model: str) -> bool:
    """Return whether a model is on this machine."""
    try:
        locate(model, models_dir())
    except NotFound:
        return False
    return True


def found(live: Any) -> Any:  # noqa: PLR0911  # one for each kind of thing
    """Return what a running task finds in a live thing, now."""
    if isinstance(live, Agent):
        own = {one.name: getattr(live, one.name) for one in dataclasses.fields(live)}
        offered = [tool.schema.name for tool in live.offered()]
        calls: list[dict[str, object]] = [{"a": str(number)} for number in range(1, 5)]
        permitted = [(live.forbids("alpha", call), live.approval("alpha", call)) for call in calls]
        refused = [live.refusal(name) for name in NAMES["Tool"]]
        return own, live.limits_now(), offered, refused, permitted, _daily(live.accounts, live.name)
    if isinstance(live, Cluster):
        grant = live.grant(Budget())
        terms, daily = live._terms, _daily(live._services.accounts, "")
        return live.limit(Budget()), live.cut(grant), sorted(live.agents), terms.policies, terms.priors, daily
    if isinstance(live, ToolSet):
        rows = live.listed() if isinstance(live, Listing) else ()
        return [found(tool) for tool in live.tools], rows, _sent(live)
    if isinstance(live, LiveTool):
        run: Any = live._run
        sent = run._box._variables.read() if hasattr(run, "_box") else _sent(run)
        return live.schema, live.effects, live.idempotent, live.withdrawn, live._spec, live._terms(), sent
    if isinstance(live, LiveMemory):
        return live._spec, live._texts, id(live.summarizer)
    if isinstance(live, Redactor):
        live._heed()
        return live.redact("ann@example.com secret-API_KEY secret-x Project Falcon"), live._places
    if isinstance(live, KnowledgeBase):
        reading = live._linking and live._linking._extractor
        spends = _daily(reading._services.accounts, reading._owner) if isinstance(reading, Reading) else None
        reranker: Any = None if live._refining is None else live._refining._rerank
        return (
            (live._retrieval, live._graph),
            spends,
            reranker.headers() if isinstance(reranker, CrossEncoder) else None,
        )
    if isinstance(live, ServiceEmbedder):
        return live.headers(), live._spec
    if hasattr(live, "_wire"):
        return live._wire.credentials(), live._wire.fields
    return _plain(live)


def _daily(accounts: Accounts, agent: str) -> tuple[dict[str, float], float]:
    """Return the limits of a day, and when a warning is due."""
    budget = accounts.budget("default", agent)
    return dict(budget.limits), budget.warn_at


def _sent(thing: Any) -> Any:
    """Return the headers and secrets that would be sent."""
    if not hasattr(thing, "_access"):
        return None
    now = thing._access.declared()
    query = {key: one for key, one in getattr(now, "query", {}).items() if isinstance(one, Secret)}
    return thing._access.texts("headers", now.headers), thing._access.texts("query", query)


def _plain(live: Any) -> Any:
    """Return what a thing holds, as far as it can be compared."""
    held = vars(live) if hasattr(live, "__dict__") else live
    return (
        repr(sorted((key, value) for key, value in held.items() if not callable(value))) if held is not live else live
    )


def typed(document: dict[str, Any], folder: Path) -> Object:
    """Return the object of a document, without a look at the files and the other objects that it names."""
    found = convert(Document(document, Position("it.yaml"), {}, {}), find_kinds(), folder).object
    assert found is not None
    return found


@pytest.mark.parametrize("some", together(FIELDS), ids=of_type)
def test_a_plan_says_when(some: list[Field], folder: Path) -> None:
    """A plan names the field that differs, and the class that its schema declares."""
    for field in some:
        before, after = (Snapshot.of([typed(one, folder)]) for one in next(field.pairs(NAMES)))
        (change,) = diff(before, after).changes
        assert change.fields, field
        assert {one.reload for one in change.fields} == {field.reload}, field
        assert all(one.path.startswith(f"spec.{'.'.join(field.path)}") for one in change.fields), field


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("some", together(HELD), ids=of_type)
async def test_a_field_takes_effect_when_it_says(system: System, folder: Path, some: list[Field]) -> None:
    """What a running task holds changes at once, or not at all; tasks that start later get all of it."""
    if any((("type",), "minilm") in field.presets for field in some) and not is_pulled("minilm"):
        pytest.skip("needs `loomd models pull minilm`")
    for field in some:
        acted = await effects(system, folder, field)
        assert acted, f"no two values of {field} could be opened"
        assert acted[-1] is (field.reload == "immediate"), field


async def effects(system: System, folder: Path, field: Field) -> list[bool]:
    """Return what changes of a field did to what a running task holds, until one did what it should."""
    ref = Ref(field.kind.name, IT)
    acted: list[bool] = []
    for before, after in field.pairs(NAMES):
        try:
            await serve(system, folder, before)
        except LoomdError:
            continue  # a file, a key or another object that this value needs is not here
        old = system.reconciler.topology
        if ref not in old.live:
            continue  # it refers to something that is not there
        async with old.lease():
            live = old.live[ref]
            was = found(live)
            try:
                plan = await serve(system, folder, after)
            except LoomdError:
                continue
            if ref not in system.reconciler.topology.live:
                continue
            if plan.empty:
                continue  # two spellings of one value
            assert old.live[ref] is live
            assert system.reconciler.topology.live[ref] is not live
            acted.append(found(live) != was)
        if field.reload == "new-tasks" or acted[-1]:
            break
    return acted


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("kind", [kind for kind in find_kinds() if kind in PARTS])
@pytest.mark.parametrize("field", ["labels", "annotations"])
async def test_labels_act_at_once_and_open_nothing(system: System, folder: Path, kind: str, field: str) -> None:
    """What is only said of an object is known at once, also to what is open, which goes on as it is."""
    document = named(kind, IT, PARTS[kind])
    await serve(system, folder, document)
    ref = Ref(kind, IT)
    live = system.reconciler.topology.live[ref]
    data = yaml.safe_dump({**document, "metadata": {"name": IT, field: {"a": "b"}}}).encode()
    plan = await system.reconciler.apply(Delivery("it", (SourceFile(folder, "it.yaml", data),)))
    changed = next(change for change in plan.changes if change.ref == ref)
    assert [(one.path, one.reload) for one in changed.fields] == [(f"metadata.{field}.a", "immediate")]
    assert system.reconciler.topology.live[ref] is live
    assert getattr(system.services.serving.snapshot.objects[ref].metadata, field) == {"a": "b"}


def test_every_kind_is_among_them() -> None:
    """No kind is left out, and each class of reload but `restart` occurs: that one is for settings only."""
    assert {field.kind.name for field in FIELDS} == set(find_kinds())
    assert {field.reload for field in FIELDS} == {"immediate", "new-tasks"}
