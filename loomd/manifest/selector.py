"""Selectors: objects chosen by their labels instead of their names.

A spec field that selects says so: `Annotated[Selector, SelectorOf("Agent")]`. What it selects is worked out when the
manifests are put together, among the objects of the namespace; from then on each is a reference like one by name.
"""

from collections.abc import Mapping
from typing import Any, Literal, Self

import msgspec
from pydantic import ConfigDict, Field, model_validator

from loomd.manifest.kind import Spec
from loomd.manifest.rule import MESSAGE, depending

_VALUES = {"type": "array", "minItems": 1, "examples": [["billing", "orders"]]}
_NO_VALUES = {
    "maxItems": 0,
    MESSAGE: "expected no values for Exists or DoesNotExist, got some: remove them, or use In",
}
_NEEDS_VALUES = depending(
    "operator",
    (["In", "NotIn"], {"required": ["values"], "properties": {"values": _VALUES}}),
    (["Exists", "DoesNotExist"], {"properties": {"values": _NO_VALUES}}),
)


class Requirement(Spec):
    """One condition on a label."""

    model_config = ConfigDict(json_schema_extra=_NEEDS_VALUES)

    key: str = Field(min_length=1, examples=["team"])
    """Name of the label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(examples=["Exists"])
    """`In` and `NotIn` compare the label with `values`; `NotIn` fits objects without the label too. `Exists` and
    `DoesNotExist` ask only whether there is one."""
    values: list[str] = Field(default_factory=list, examples=[["billing", "orders"]])
    """Values for `In` and `NotIn`, at least one; none for the others."""

    @model_validator(mode="after")
    def _values_fit(self) -> Self:
        if self.operator in ("In", "NotIn") and not self.values:
            raise ValueError(f"expected at least one of values for operator {self.operator}, got none")
        if self.operator in ("Exists", "DoesNotExist") and self.values:
            raise ValueError(f"expected no values for operator {self.operator}, got some: remove them, or use In")
        return self

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Return whether labels satisfy the condition."""
        match self.operator:
            case "In":
                return self.key in labels and labels[self.key] in self.values
            case "NotIn":
                return self.key not in labels or labels[self.key] not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels

    def __str__(self) -> str:
        """Return the condition as people write it."""
        match self.operator:
            case "In":
                return f"{self.key} in ({', '.join(self.values)})"
            case "NotIn":
                return f"{self.key} not in ({', '.join(self.values)})"
            case "Exists":
                return f"a label {self.key}"
            case "DoesNotExist":
                return f"no label {self.key}"


class Selector(Spec):
    """Conditions on labels; all of them must hold. Without any condition every object fits."""

    match_labels: dict[str, str] = Field(default_factory=dict, examples=[{"team": "support"}])
    """Labels that must be there with these values."""
    match_expressions: list[Requirement] = Field(default_factory=list[Requirement])
    """Further conditions."""

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Return whether an object with these labels is selected."""
        named = all(labels.get(key) == value for key, value in self.match_labels.items())
        return named and all(one.fits(labels) for one in self.match_expressions)

    def __str__(self) -> str:
        """Return the conditions as people write them."""
        named = [f"{key}={value}" for key, value in self.match_labels.items()]
        return " and ".join([*named, *(str(one) for one in self.match_expressions)])


class SelectorOf(msgspec.Struct, frozen=True):
    """Marks a field of type `Selector`: the kind that it selects in the same namespace."""

    kind: str

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        """Add `x-loomd-selects` to the field's JSON Schema."""
        return {**handler(core_schema), "x-loomd-selects": self.kind}
