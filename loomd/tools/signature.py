"""From a Python function to what a model must know: parameters with types, defaults and descriptions.

Types come from the annotations, descriptions from the Google-style docstring or from `Annotated[..., Field(...)]`; or
all of it from a Pydantic model, which is then the only parameter.
Called by the `python` type; the function itself is never called here.
"""

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import PydanticUndefined

from loomd.errors import Permanent, ToolFailed
from loomd.messages import JsonObject
from loomd.tools.context import ToolContext
from loomd.tools.docstring import read_docstring


@dataclass(frozen=True)
class Signature:
    """What a function takes.

    Attributes:
        summary: first paragraph of the docstring, on one line.
        model: validates arguments.
        context: name of the parameter that gets the `ToolContext`, which no model sees, or empty.
        whole: name of the one parameter that gets all arguments as a Pydantic model of the function's own, or empty.
    """

    summary: str
    model: type[BaseModel]
    context: str = ""
    whole: str = ""

    @property
    def parameters(self) -> JsonObject:
        """Return the JSON Schema of the arguments."""
        schema = self.model.model_json_schema()
        for name in ("title", "description") if self.whole else ("title",):
            schema.pop(name, None)
        for field in schema.get("properties", {}).values():
            field.pop("title", None)
        return schema

    def bind(self, arguments: JsonObject) -> dict[str, Any]:
        """Return validated arguments by parameter name.

        Raises:
            ToolFailed: they do not fit; the text names each one, for the model.
        """
        try:
            valid = self.model.model_validate(arguments)
        except ValidationError as error:
            raise refusal(error) from None
        if self.whole:
            return {self.whole: valid}
        return {name: getattr(valid, name) for name in self.model.model_fields if name in arguments}


def read_signature(function: Callable[..., object]) -> Signature:
    """Return what a function takes.

    Raises:
        Permanent: a parameter cannot be described to a model; the text names it.
    """
    summary, described = read_docstring(inspect.getdoc(function) or "")
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise Permanent(f"an annotation cannot be resolved: {error}") from error
    fields: dict[str, Any] = {}
    context = ""
    for name, parameter in inspect.signature(function).parameters.items():
        if hints.get(name) is ToolContext:
            context = name
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise Permanent(unnamed(name))
        default = ... if parameter.default is parameter.empty else parameter.default
        field = Field(default=default)
        if name in described:  # else what the annotation says holds
            field = Field(default=default, description=described[name])
        fields[name] = (hints.get(name, Any), field)
    whole, model = _own_model(fields)
    try:
        if model is None:
            model = create_model("Arguments", __config__=ConfigDict(extra="forbid", protected_namespaces=()), **fields)
        signature = Signature(summary, model, context, whole)
        signature.parameters  # noqa: B018  # a type without a JSON Schema shows here
    except Exception as error:
        raise Permanent(f"the parameters cannot be described to a model: {error}") from error
    return signature


def _own_model(fields: Mapping[str, tuple[Any, Any]]) -> tuple[str, type[BaseModel] | None]:
    """Return the only parameter and its type when that is a Pydantic model, whose fields are the arguments then."""
    if len(fields) != 1:
        return "", None
    [(name, (hint, field))] = fields.items()
    required = field.default is PydanticUndefined or field.default is ...
    fits = isinstance(hint, type) and issubclass(hint, BaseModel) and required
    return (name, hint) if fits else ("", None)


def refusal(error: ValidationError) -> ToolFailed:
    """Return what a model is told of arguments that do not fit."""
    found = error.errors(include_url=False, include_input=False)
    wrong = "; ".join(f"{'.'.join(str(part) for part in e['loc']) or 'arguments'}: {e['msg']}" for e in found)
    return ToolFailed(f"the arguments are refused: {wrong}")


def unnamed(parameter: str) -> str:
    """Return what is wrong with a parameter that is not passed by its name."""
    return f'parameter "{parameter}" cannot be described to a model: take it by its name, without * or /'
