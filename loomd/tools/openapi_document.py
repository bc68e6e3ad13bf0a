"""An OpenAPI document as operations that can be called: what each takes, and where every argument goes in a request.

Reads versions 3.0 and 3.1. What cannot be called (a body that is no JSON, a required cookie) is an operation that says
so; what is wrong in the document is reported at its place. Pure. Called by the type `openapi`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from loomd.manifest.inline_schema import BadSchema, validator_of
from loomd.manifest.wording import escape
from loomd.messages import JsonObject
from loomd.tools.openapi_schema import BadDocument, Json, Schemas, follow

_FOREIGN = re.compile(r"[^a-zA-Z0-9_.-]")
_LONGEST = 64
"""Longest name of an argument, and what else than such characters some model services refuse in it."""
METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
_OTHER = re.compile(r"[^a-zA-Z0-9]+")
_JSON = re.compile(r"^application/([\w.+-]+\+)?json\s*(;|$)", re.IGNORECASE)
_VARIABLE = re.compile(r"\{([^{}]+)\}")
_OURS = frozenset(("accept", "authorization", "content-type"))
"""Headers of which OpenAPI says that a parameter of this name means nothing."""
_NEVER = frozenset(("host", "cookie", "connection", "content-length", "transfer-encoding", "upgrade"))
"""Headers that decide how a request is read; no argument sets them."""

Place = Literal["path", "query", "header"]
_PLACES: Mapping[str, Place] = {"path": "path", "query": "query", "header": "header"}


@dataclass(frozen=True)
class Parameter:
    """Where an argument goes.

    Attributes:
        argument: name of the argument.
        name: name of the parameter in the request.
        place: part of the request.
        style: how a list or mapping is written, as OpenAPI says.
        explode: whether its parts are written one by one.
    """

    argument: str
    name: str
    place: Place
    style: str
    explode: bool


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        name: its `operationId`, or method and path.
        method: in capital letters.
        path: template with `{name}`.
        description: what it does.
        tags: groups that it belongs to.
        schema: JSON Schema of the arguments.
        parameters: where they go.
        body: content type of the body, which is the argument `body`; empty without one.
        unusable: why it cannot be called; empty when it can.
        pointer: where it stands.
    """

    name: str
    method: str
    path: str
    description: str
    tags: tuple[str, ...]
    schema: JsonObject = field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()
    body: str = ""
    unusable: str = ""
    pointer: str = ""


class OpenApi:
    """A document that was read.

    Attributes:
        operations: all that it describes, in its order.
        faults: what is wrong with it: JSON pointer and message.
    """

    def __init__(self, root: Json, fixed: frozenset[tuple[Place, str]] = frozenset()) -> None:
        """Read a document.

        Args:
            root: its decoded value.
            fixed: headers and query parameters that the manifest sets, in small letters; they are no arguments.
        """
        self._root: Mapping[str, Json] = root if isinstance(root, dict) else {}
        self._fixed = fixed
        self.faults: list[tuple[str, str]] = list(self._head(root))
        self.operations: list[Operation] = []
        if not self.faults:
            self._read()

    def server(self) -> str:
        """Return the address of the first server, its variables filled in; empty when there is none."""
        servers = self._root.get("servers")
        first = servers[0] if isinstance(servers, list) and servers else {}
        if not isinstance(first, dict) or not isinstance(first.get("url"), str):
            return ""
        variables = first.get("variables")
        known = cast("dict[str, Any]", variables) if isinstance(variables, dict) else {}

        def put(match: re.Match[str]) -> str:
            found = known.get(match[1])
            return str(found.get("default", match[0])) if isinstance(found, dict) else match[0]

        return _VARIABLE.sub(put, first["url"])

    def _head(self, root: Json) -> Iterator[tuple[str, str]]:
        version = self._root.get("openapi")
        if not isinstance(root, dict):
            yield "", "expected an OpenAPI document, a mapping"
        elif not isinstance(version, str) or not version.startswith(("3.0", "3.1")):
            said = f'"{version}"' if version is not None else "nothing" if "swagger" not in root else "Swagger 2"
            yield "/openapi", f"expected openapi 3.0 or 3.1, got {said}: convert the document"
        elif not isinstance(root.get("paths"), dict):
            yield "/paths", "expected paths, a mapping"

    def _read(self) -> None:
        seen: dict[str, str] = {}
        for path, item in self._root["paths"].items():
            place = f"/paths/{escape(path)}"
            try:
                entry, found = follow(self._root, item, place)
            except BadDocument as error:
                self.faults.append((error.pointer, str(error)))
                continue
            if not isinstance(entry, dict) or not path.startswith("/"):
                self.faults.append((place, "expected a path that begins with / and holds operations"))
                continue
            for method in METHODS:
                if method in entry:
                    self._add(path, method, entry, f"{found}/{method}", seen)

    def _add(self, path: str, method: str, entry: dict[str, Json], pointer: str, seen: dict[str, str]) -> None:
        try:
            one = self._operation(path, method, entry, pointer)
        except BadDocument as error:
            self.faults.append((error.pointer, str(error)))
            return
        if one.name in seen:
            text = f'expected an operationId of its own, got "{one.name}", which stands at {seen[one.name]} as well'
            self.faults.append((f"{pointer}/operationId", text))
            return
        seen[one.name] = pointer
        self.operations.append(one)

    def _operation(self, path: str, method: str, entry: dict[str, Json], pointer: str) -> Operation:
        """Return an operation.

        Raises:
            BadDocument: something in it is wrong.
        """
        said = entry[method]
        if not isinstance(said, dict):
            raise BadDocument(pointer, "expected an operation, a mapping")
        schemas = Schemas(self._root)
        arguments = _Arguments()
        for name, one in self._parameters(entry, said, pointer).items():
            self._take(schemas, arguments, name, *one)
        missing = [name for name in _VARIABLE.findall(path) if ("path", name) not in arguments.known]
        if missing:
            raise BadDocument(pointer, f'expected a parameter for "{{{missing[0]}}}" of the path, got none')
        body = self._body(schemas, arguments, said.get("requestBody"), f"{pointer}/requestBody")
        if "servers" in said or "servers" in entry:
            arguments.unusable = "it has a server of its own; only the first server of the document is spoken to"
        schema: JsonObject = {
            "type": "object",
            "properties": arguments.properties,
            "required": arguments.required,
            "additionalProperties": False,
        }
        try:
            validator_of(schema)
        except BadSchema as error:
            raise BadDocument(pointer, f"its arguments make no JSON Schema: {error}") from error
        return Operation(
            name=_text(said.get("operationId")) or _OTHER.sub("_", f"{method}{path}").strip("_"),
            method=method.upper(),
            path=path,
            description=_described(said, f"{method.upper()} {path}"),
            tags=tuple(str(tag) for tag in said.get("tags") or () if isinstance(tag, str)),
            schema=schema,
            parameters=tuple(arguments.known.values()),
            body=body,
            unusable=arguments.unusable,
            pointer=pointer,
        )

    def _parameters(
        self, entry: dict[str, Json], said: dict[str, Json], pointer: str
    ) -> dict[tuple[str, str], tuple[dict[str, Json], str]]:
        """Return the parameters of path and operation by place and name; those of the operation count more."""
        found: dict[tuple[str, str], tuple[dict[str, Json], str]] = {}
        above = pointer.rpartition("/")[0]
        for holder, place in ((entry, above), (said, pointer)):
            listed = holder.get("parameters") or []
            if not isinstance(listed, list):
                raise BadDocument(f"{place}/parameters", "expected a list of parameters")
            for at, item in enumerate(listed):
                one, where = follow(self._root, item, f"{place}/parameters/{at}")
                if not isinstance(one, dict) or not _text(one.get("name")) or not _text(one.get("in")):
                    raise BadDocument(where, "expected a parameter with name and in")
                found[one["in"], one["name"]] = (one, where)
        return found

    def _take(
        self, schemas: Schemas, arguments: "_Arguments", key: tuple[str, str], one: dict[str, Json], pointer: str
    ) -> None:
        """Take one parameter over, unless the manifest sets it or OpenAPI says that it means nothing."""
        place, name = key
        required = one.get("required") is True or place == "path"
        known = _PLACES.get(place)
        if known is None:
            if place != "cookie":
                raise BadDocument(f"{pointer}/in", f'expected one of path, query, header, cookie, got "{place}"')
            if required:
                arguments.unusable = f'it needs the cookie "{name}"'
            return
        low = name.lower()
        if (known, low) in self._fixed or (place == "header" and low in _OURS | _NEVER):
            return
        schema, where = one.get("schema"), f"{pointer}/schema"
        content = one.get("content")
        style = _text(one.get("style")) or ("form" if place == "query" else "simple")
        if schema is None and isinstance(content, dict) and content:
            media = next(iter(content))
            schema, where, style = content[media].get("schema", {}), f"{pointer}/content/{escape(media)}", "json"
        made = schemas.whole(schema if schema is not None else {}, where)
        if _text(one.get("description")):
            made = {**made, "description": one["description"]}
        explode = one.get("explode", style == "form") is True
        arguments.add(name, known, made, required=required, style=style, explode=explode)

    def _body(self, schemas: Schemas, arguments: "_Arguments", said: Json, pointer: str) -> str:
        """Take the body over and return its content type."""
        body, where = follow(self._root, said, pointer)
        if body is None:
            return ""
        content = body.get("content") if isinstance(body, dict) else None
        if not isinstance(content, dict):
            raise BadDocument(where, "expected a body with content")
        media = next((name for name in content if _JSON.match(name)), "")
        if not media:
            if body.get("required") is True:
                arguments.unusable = f"its body is no JSON but {', '.join(content) or 'nothing'}"
            return ""
        entry = content[media] if isinstance(content[media], dict) else {}
        made = schemas.whole(entry.get("schema", {}), f"{where}/content/{escape(media)}/schema")
        if _text(body.get("description")):
            made = {**made, "description": body["description"]}
        arguments.put_body(made, required=body.get("required") is True)
        return media


class _Arguments:
    """The arguments of one operation, as they are collected."""

    def __init__(self) -> None:
        self.properties: dict[str, Json] = {}
        self.required: list[str] = []
        self.known: dict[tuple[Place, str], Parameter] = {}
        self.unusable = ""

    def add(
        self, name: str, place: Place, schema: dict[str, Json], *, required: bool, style: str, explode: bool
    ) -> None:
        """Add a parameter; one whose name is taken has its place in its name."""
        argument = _FOREIGN.sub("_", name)[:_LONGEST]
        argument = argument if argument not in self.properties else f"{argument}_{place}"
        self.properties[argument] = schema
        if required:
            self.required.append(argument)
        self.known[place, name] = Parameter(argument, name, place, style, explode)

    def put_body(self, schema: dict[str, Json], *, required: bool) -> None:
        """Add the body; a parameter of that name has its place in its name."""
        for key, one in self.known.items():
            if one.argument == "body":
                renamed = f"body_{one.place}"
                self.properties[renamed] = self.properties.pop("body")
                self.required = [renamed if name == "body" else name for name in self.required]
                self.known[key] = Parameter(renamed, one.name, one.place, one.style, one.explode)
        self.properties["body"] = schema
        if required:
            self.required.append("body")


def _described(said: dict[str, Json], otherwise: str) -> str:
    parts = [_text(said.get("summary")).strip(), _text(said.get("description")).strip()]
    return "\n\n".join(dict.fromkeys(part for part in parts if part)) or otherwise


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""
