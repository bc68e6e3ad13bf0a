"""Which tool calls an agent may make: enforced on what is really called, out of reach of the model.

`deny` goes before `ask`, and `ask` before `allow`. Whoever declares `allow` denies everything else. Pure. Called by
the agent and by its tool calls.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import Field

from loomd.manifest.call_pattern import CallPattern, read_calls
from loomd.manifest.kind import Spec
from loomd.manifest.mention import Mention
from loomd.manifest.quantity import Duration
from loomd.manifest.wording import did_you_mean, dotted, listed
from loomd.messages import JsonObject, ToolSchema

ToolCalls = Annotated[CallPattern, Mention("Tool", own=("skill",), among="/spec/tools")]
"""A pattern of calls of an agent's own tools, or of the tool with which it takes up skills."""


class Permissions(Spec):
    """Which tool calls an agent may make, by patterns such as `files` or `files(action=write)`."""

    deny: list[ToolCalls] = Field(default_factory=list, examples=[["files(action=write)"]])
    """Calls that are refused, whatever the other lists say. Of an argument that is a list one item must fit."""
    ask: list[ToolCalls] = Field(default_factory=list, examples=[["files(path=reports/*)"]])
    """Calls to which a person must agree each time (`loomd approve`), for exactly their arguments."""
    allow: list[ToolCalls] | None = Field(default=None, examples=[["search", "files(action=read)"]])
    """Calls that may be made; all others are refused, except those of `ask`. Without it every call may be made that is
    not denied. Of an argument that is a list all items must fit."""
    ttl: Duration = Field(default=86_400.0, gt=0)
    """Time after which a question of `ask` that nobody answered counts as denied."""
    on_denied: Literal["stop", "continue"] = "stop"
    """What a denial does: end the work with what there is, or tell the model, which goes on."""

    def unasked(self) -> "Permissions":
        """Return these permissions with everything allowed to which a person would have to agree."""
        allow = None if self.allow is None else [*self.allow, *self.ask]
        return self.model_copy(update={"ask": [], "allow": allow})

    def entries(self) -> Iterator[tuple[str, str]]:
        """Yield JSON pointer and pattern of every entry."""
        for name, patterns in (("deny", self.deny), ("ask", self.ask), ("allow", self.allow or ())):
            for at, pattern in enumerate(patterns):
                yield f"/{name}/{at}", pattern

    def hides(self, tool: str) -> bool:
        """Return whether no call of a tool may be made, whatever its arguments; a model is not told of such a tool."""
        denied = any(not calls.conditions and calls.tool.fits(tool) for calls in map(read_calls, self.deny))
        if denied or self.allow is None:
            return denied
        return not any(read_calls(pattern).tool.fits(tool) for pattern in (*self.allow, *self.ask))

    def refusal(self, tool: str, arguments: Mapping[str, object]) -> str:
        """Return why a call may not be made, for the model, or an empty string."""
        if (entry := _first(self.deny, tool, arguments)) is not None:
            return f'the call is not permitted: "{entry}" is denied'
        if self.allow is None or self.asks(tool, arguments):
            return ""
        if any(read_calls(pattern).fits_whole(tool, arguments) for pattern in self.allow):
            return ""
        return f"the call is not permitted; permitted are: {listed((*self.allow, *self.ask)) or 'none'}"

    def asks(self, tool: str, arguments: Mapping[str, object]) -> bool:
        """Return whether a person must agree to a call that is not denied."""
        return _first(self.ask, tool, arguments) is not None


def _first(patterns: Iterable[str], tool: str, arguments: Mapping[str, object]) -> str | None:
    return next((one for one in patterns if read_calls(one).fits(tool, arguments)), None)


def effective(schema: ToolSchema | None, arguments: JsonObject) -> JsonObject:
    """Return the arguments of a call as the tool takes them: those left out have the defaults that it declares."""
    properties = cast("Mapping[str, Any]", schema.parameters.get("properties") or {}) if schema is not None else {}
    defaults = {name: one["default"] for name, one in properties.items() if isinstance(one, dict) and "default" in one}
    return {**defaults, **arguments}


def misnamed(permissions: Permissions, schema: ToolSchema) -> Iterator[str]:
    """Yield what is wrong with entries that name an argument which a tool does not take."""
    taken = schema.parameters.get("properties")
    if not isinstance(taken, dict) or schema.parameters.get("additionalProperties") is not False:
        return  # it may take others, too
    for pointer, pattern in permissions.entries():
        calls = read_calls(pattern)
        for path, _ in calls.conditions if calls.exact == schema.name else ():
            name = path.partition(".")[0]
            if name not in taken:
                hint = did_you_mean(name, taken, "it takes:")
                place = dotted(f"/spec/permissions{pointer}")
                yield f'{place}: expected an argument of the tool "{schema.name}", got "{name}": {hint}'
