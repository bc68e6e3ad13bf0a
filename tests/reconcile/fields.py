"""Every field that a manifest may set, found in the schemas, with values for it: what the generated tests are made of.

Nothing here knows a kind: a field counts because it is in a schema.
"""

import sys
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from itertools import islice, permutations
from pathlib import Path as Folder
from typing import Any

from loomd.manifest.annotation import RELOAD
from loomd.manifest.convert import accepts, types_accept
from loomd.manifest.kind import API_VERSION, Kind, ReloadClass, find_kinds
from loomd.manifest.schema import schema_of
from tests.manifest.mutation import ODD, bounds_of, documents, variants

Path = tuple[str, ...]

_REF = "x-loomd-ref"
_QUERY = {"type": "object", "properties": {"query": {"type": "string"}}}
_SERVER = str(Folder(__file__).parents[1] / "tools" / "hostile.py")
API = {
    "openapi": "3.1.0",
    "servers": [{"url": "https://library.example.com"}],
    "paths": {"/books": {"get": {"operationId": "findBooks", "tags": ["books"]}, "post": {"operationId": "addBook"}}},
}
_MORE: dict[str, tuple[Any, ...]] = {
    "GitSource.spec.url": ("https://git.example.com/a.git", "https://git.example.com/b.git"),
    "GitSource.spec.ref.commit": ("a" * 40, "b" * 40),
    **{
        f"{kind}.spec.permissions.{name}": values
        for kind in ("Agent", "Blueprint")
        for name, values in {
            "deny": ([], ["*(a=1)"]),
            "ask": (["*(a=3)"], ["*(a=4)"]),
            "allow": (["*"], ["*(a=3)"]),
        }.items()
    },
    **{f"{kind}.spec.locked": (["prompt"], ["health"]) for kind in ("Agent", "Blueprint")},
    "Interceptor(command).spec.argv": (["true"], ["cat"]),
    "Interceptor(command).spec.at": (["beforeTool"], ["afterTool"]),
    "Interceptor(python).spec.at": (["beforeTool"], ["afterTool"]),
    "Interceptor(python).spec.file": ("tools/calc.py", "tools/other.py"),
    "Interceptor(python).spec.function": ("add", "more"),
    "Interceptor(redact).spec.places": (["requests"], ["replies"]),
    "KnowledgeBase.spec.sources": ([{"path": "docs"}], [{"path": "docs", "exclude": ["x"]}]),
    "Skill.spec.instructions": ("Be brief.", "Be kind."),
    "Skill.spec.description": ("How to review.", "How to speak."),
    "Skill.spec.directory": (".agents/skills", "more"),
    "Skill.spec.triggers": ([{"type": "always"}], [{"type": "keyword", "keywords": ["x"]}]),
    "Skill.spec.toolNames": ({}, {"Read": ["alpha"]}),
    "Skill.spec.file": ("skills/review.md", "other/SKILL.md"),
    "Provider(replay).spec.file": ("recordings/late-fee.json", "other.json"),
    "Test.spec.cassette": ("recordings/late-fee.json", "other.json"),
    "Provider(local).spec.model": ("model.gguf", "other.gguf"),
    "Tool(http).spec.url": ("https://api.example.com/books", "https://api.example.com/papers"),
    "Tool(http).spec.parameters": (_QUERY, {**_QUERY, "required": ["query"]}),
    "Tool(python).spec.file": ("tools/calc.py", "tools/other.py"),
    "Tool(python).spec.function": ("add", "more"),
    "Tool(mcp).spec.command": ("true", "false"),
    "Tool(mcp).spec.args": ([_SERVER, "plain"], [_SERVER, "junk"]),
    "Tool(mcp).spec.url": ("https://127.0.0.1:9/mcp", "https://127.0.0.1:10/mcp"),
    "Tool(mcp).spec.pins": ({"echo": "0" * 32}, {"echo": "1" * 32}),
    "Tool(mcp).spec.overrides": ({"echo": {"effects": "read"}}, {"echo": {"effects": "write"}}),
    "Tool(openapi).spec.file": ("apis/library.yaml", "other.yaml"),
    "Tool(openapi).spec.document": (API, {**API, "openapi": "3.0.0"}),
    "Tool(mcp).spec.exclude": ([], ["echo"]),
    "Tool(openapi).spec.include": (["books"], ["addBook"]),
    "Tool(openapi).spec.exclude": ([], ["findBooks"]),
    "Tool(openapi).spec.overrides": ({"findBooks": {"effects": "write"}}, {"findBooks": {"effects": "external"}}),
    "Tool(python).spec.package": ("acme_one", "acme_two"),
    "Tool(files).spec.folder": ("docs", "tools"),
    "Tool(python).spec.limits.memory": ("1Gi", "2Gi"),
    "Tool(shell).spec.command": (["true"], ["false"]),
    "Tool(shell).spec.stdin": ("a", "b"),
    "Tool(shell).spec.parameters": (_QUERY, {**_QUERY, "required": ["query"]}),
    **{f"Tool({one}).spec.workdir": ("docs", "tools") for one in ("python", "shell")},
    **{f"Tool({one}).spec.read": (["docs"], ["tools"]) for one in ("python", "shell")},
    **{f"Tool({one}).spec.write": ([".agents"], [".agents/skills"]) for one in ("python", "shell")},
    "Interceptor(redact).spec.secrets": ([{"valueFrom": {"env": "API_KEY"}}], [{"valueFrom": {"file": "x"}}]),
    **{
        f"Cluster.spec.{selector}.{name}": values
        for selector in ("agentSelector", "skillNodes.selector")
        for name, values in {
            "matchLabels": ({"name": "alpha"}, {"name": "beta"}),
            "matchExpressions": tuple(
                [{"key": "name", "operator": "In", "values": [one]}] for one in ("alpha", "beta")
            ),
        }.items()
    },
    "Cluster(auction).spec.match.weights": ({}, {"capability": 0.3, "tools": 0.25}),
    "Cluster(llm,auction).spec.match.auction.weights": ({}, {"capability": 0.3, "tools": 0.25}),
    "Cluster(rules).spec.evaluate.weights": ({}, {"quality": 0.4, "efficiency": 0.4}),
    "Cluster(judge,rules).spec.evaluate.rules.weights": ({}, {"quality": 0.4, "efficiency": 0.4}),
}
"""Values of fields for which examples and limits do not give two."""
_ENDS: dict[str, tuple[Any, ...]] = {"valueFrom.env": ("API_KEY", "OPENAI_API_KEY"), "valueFrom.file": ("x", "b")}
"""The same for fields whose names end so."""
_PRESETS: dict[tuple[str, str], tuple[tuple[tuple[str, ...], Any], ...]] = {
    ("Cluster", "judge"): ((("evaluate", "provider"), "alpha"),),
    ("Agent", ""): ((("permissions", "ask"), ["*(a=3)"]),),
    ("Blueprint", ""): ((("permissions", "ask"), ["*(a=3)"]),),
    ("Provider", "local"): ((("model",), "model.gguf"),),
    ("Tool", "mcp"): (
        (("command",), sys.executable),
        (("args",), [_SERVER]),
        (("startTimeout",), "10s"),
        (("stopTimeout",), "200ms"),
        (("effects",), "read"),
    ),
    ("Tool", "openapi"): ((("file",), "apis/library.yaml"), (("effects",), "read")),
    ("Tool", "http"): (
        (("url",), "https://api.example.com/books"),
        (("parameters",), _QUERY),
        (("effects",), "read"),
    ),
    ("Tool", "python"): ((("file",), "tools/calc.py"), (("effects",), "read")),
    ("Tool", "files"): ((("folder",), "docs"),),
    ("Tool", "shell"): ((("command",), ["true"]), (("sandbox",), "none"), (("effects",), "read")),
}
"""What is set for types whose examples name something that is not at hand, or whose defaults exclude other fields."""
_EITHER = {("command", "url"), ("file", "document"), ("file", "package")}
"""Fields that are not set for the sake of another one, because that excludes them."""
_LIMITS = ("cpu", "memory", "processes", "fileSize", "openFiles", "scratch", "output")
_BOXED = ("workdir", "env", "network", "read", "write", *(f"limits.{name}" for name in _LIMITS))
_WITH: dict[str, tuple[tuple[tuple[str, ...], Any], ...]] = {
    "Memory.spec.compaction.provider": ((("recall", "enabled"), True), (("compaction", "timeout"), "60s")),
    "Memory.spec.compaction.agent": ((("recall", "enabled"), True), (("compaction", "timeout"), "60s")),
    "Memory.spec.compaction.batch": ((("recall", "enabled"), True), (("compaction", "provider"), "alpha")),
    "Memory.spec.compaction.timeout": ((("recall", "enabled"), True), (("compaction", "provider"), "alpha")),
    "Tool(files).spec.write": ((("effects",), "write"), (("folder",), ".agents")),
    **{f"Tool(python).spec.{name}": ((("sandbox",), "none"),) for name in _BOXED},
}
"""What is set for a field that needs another one."""
_REQUIRED: dict[str, tuple[tuple[tuple[str, ...], Any], ...]] = {
    "Cluster.spec.skillNodes.": ((("skillNodes", "host"), "alpha"),),
    "Cluster.spec.skillNodes.host": ((("skillNodes", "skills"), ["alpha"]),),
    "Cluster.spec.skillNodes.score": ((("skillNodes", "skills"), ["alpha"]),),
    "Cluster.spec.skillNodes.scores": ((("skillNodes", "skills"), ["alpha"]),),
    "KnowledgeBase(model).spec.graph.extract.": (
        (("graph", "extract", "provider"), "alpha"),
        (("graph", "extract", "budget", "calls"), 5),
    ),
    "KnowledgeBase(model).spec.retrieval.expand.": ((("retrieval", "expand", "provider"), "alpha"),),
    "KnowledgeBase(model).spec.retrieval.rerank.": ((("retrieval", "rerank", "provider"), "alpha"),),
    "KnowledgeBase(cross-encoder).spec.retrieval.rerank.": (
        (("retrieval", "rerank", "baseUrl"), "http://127.0.0.1:8080/v1"),
    ),
}
"""What all fields of an object need that may be left out as a whole, by how their names begin."""
_TOGETHER = {"weights"}
"""Objects whose fields must add up, and change together."""
_VALUES = 6
"""How many values of a field are paired in one base."""
_TRIES = 24


@dataclass(frozen=True)
class Field:
    """A field of a spec that holds no other fields.

    Attributes:
        kind: the kind that has it.
        path: its names below `spec`.
        presets: other fields that must be set for it to be there: the types that it is a field of.
        reload: when a change of it takes effect, as its schema says.
        schema: the schema of the field.
    """

    kind: Kind
    path: Path
    presets: tuple[tuple[Path, Any], ...]
    reload: ReloadClass
    schema: Mapping[str, Any]

    def __str__(self) -> str:
        """Return `Provider(openai).spec.pricing.input`."""
        types = ",".join(str(value) for _, value in self.presets)
        return f"{self.kind.name}{f'({types})' if types else ''}.spec.{'.'.join(self.path)}"

    def pairs(self, names: Mapping[str, list[str]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yield pairs of valid documents that differ in this field only.

        Args:
            names: names of the objects that there are, by kind; a reference names one of them.
        """
        yielded = 0
        for base in _bases(self.kind):
            found = list(islice(self._valid(base, names), _VALUES))
            for pair in permutations(found, 2):
                if pair[0] != pair[1]:
                    yield pair
                    yielded += 1
                if yielded >= _TRIES:
                    return

    def _valid(self, base: dict[str, Any], names: Mapping[str, list[str]]) -> Iterator[dict[str, Any]]:
        """Yield the valid documents that a base becomes with each value of the field that some such has."""
        others = [name for name in base["spec"] if name != self.path[0]]
        needs, known = self._needs(), _known(self.kind, dict(self.presets).get(("type",)))
        shells = [made for name in (None, *others) if (made := self._shell(base, name, needs, known))]
        for value in self._values(names) if shells else ():
            for document, holder in shells:  # some fields exclude each other
                holder[self.path[-1]] = value
                if accepts(self.kind, document) and types_accept(self.kind, document):
                    yield deepcopy(document)
                    break

    def _values(self, names: Mapping[str, list[str]]) -> Iterator[Any]:
        """Yield values that the field may have, the likeliest first."""
        items = self.schema.get("items", {})
        listed = next((arm[_REF] for arm in (items, *_arms(items)) if _REF in arm), None)
        if listed:
            yield from (names[listed], names[listed][::-1], names[listed][:1], [])
            return
        to = next((arm[_REF] for arm in (self.schema, *_arms(self.schema)) if _REF in arm), None)
        if to:
            yield from names[to]
            return
        yield from _MORE.get(str(self), ())
        yield from next((values for end, values in _ENDS.items() if str(self).endswith(end)), ())
        yield from self.schema.get("examples", ())
        if "default" in self.schema:
            yield self.schema["default"]
        yield from (value for value in bounds_of(dict(self.schema)) if value is not None)
        yield from ODD

    def _shell(
        self, base: dict[str, Any], left_out: str | None, needs: list[tuple[Path, Any]], known: frozenset[str]
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Return a document with all that the field needs, and the object in it that holds the field.

        None when something else stands there, or when the document has what the type of the field does not know: no
        value of the field makes that valid.
        """
        document = deepcopy(base)
        document["spec"].pop(left_out, None)
        for path, value in needs:
            holder = _holder(document, path)
            if holder is None:
                return None
            holder[path[-1]] = deepcopy(value)
        holder = _holder(document, self.path)
        if holder is None or not document["spec"].keys() <= known:
            return None
        return document, holder

    def _needs(self) -> list[tuple[Path, Any]]:
        """Return what is set besides the field."""
        known = _PRESETS.get((self.kind.name, next((str(one) for _, one in self.presets), "")), ())
        extra = [(path, one) for path, one in known if (path[0], self.path[0]) not in _EITHER]
        required = [one for start, some in _REQUIRED.items() if str(self).startswith(start) for one in some]
        return [*self.presets, *extra, *required, *_WITH.get(str(self), ())]


@cache
def _root(kind: Kind) -> dict[str, Any]:
    """Return the schema of a kind, which nobody changes."""
    return schema_of(kind)


@cache
def _bases(kind: Kind) -> tuple[dict[str, Any], ...]:
    """Return the documents that a field of a kind is set in, which nobody changes."""
    return tuple(documents(kind, _root(kind)))


@cache
def _known(kind: Kind, of: Any) -> frozenset[str]:
    """Return the names that a spec may have, of one type or of any."""
    found: list[dict[str, Any]] = [one["properties"] for one in variants(_root(kind))]
    return frozenset(name for one in found if of is None or one["type"]["const"] == of for name in one)


def _holder(document: dict[str, Any], path: Path) -> dict[str, Any] | None:
    """Return the object below a document's spec that holds the last name of a path, made where nothing stands."""
    holder: dict[str, Any] = document["spec"]
    for name in path[:-1]:
        inner = holder.setdefault(name, {})
        if not isinstance(inner, dict):
            return None
        holder = inner
    return holder


def fields() -> Iterator[Field]:
    """Yield every field of every type of every kind."""
    for kind in find_kinds().values():
        root = _root(kind)
        for variant in variants(root):
            yield from _walk(kind, root, variant, (), ())


def examples() -> dict[str, set[str]]:
    """Return the names that examples of references name, by kind."""
    found: dict[str, set[str]] = {kind: set() for kind in find_kinds()}
    for field in fields():
        items = field.schema.get("items", {})
        for schema in (field.schema, *_arms(field.schema), items, *_arms(items)):
            given = [one for value in field.schema.get("examples", ()) for one in _names(value)]
            found.get(schema.get(_REF, ""), set()).update(given)
    return found


def _names(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _walk(
    kind: Kind, root: Mapping[str, Any], schema: Mapping[str, Any], path: Path, presets: tuple[tuple[Path, Any], ...]
) -> Iterator[Field]:
    properties = schema["properties"]
    if "const" in properties.get("type", {}):
        presets = (*presets, ((*path, "type"), properties["type"]["const"]))
    for name, field in properties.items():
        if name == "type" and "const" in field:
            continue
        inner = [arm for arm in _resolved(field, root) if "properties" in arm and name not in _TOGETHER]
        inner = [] if any(_REF in arm for arm in (field, *_arms(field))) else inner
        for arm in inner:
            yield from _walk(kind, root, arm, (*path, name), presets)
        if not inner:
            yield Field(kind, (*path, name), presets, field[RELOAD], field)


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a schema or what it refers to, or the arms of its union."""
    for arm in _arms(schema):
        if arm is not schema and "oneOf" in arm:  # one of several types, or nothing
            yield from _resolved(arm, root)
        else:
            yield root["$defs"][arm["$ref"].rpartition("/")[2]] if "$ref" in arm else arm


def _arms(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*schema.get("anyOf", ()), *schema.get("oneOf", ())] or [schema]


def named(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document that is labelled with its name."""
    metadata = {"name": name, "labels": {"name": name}}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": dict(spec)}
