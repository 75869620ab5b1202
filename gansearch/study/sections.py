"""What sections of a study file are made of: keys that are checked, and parts by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

MANY = 10**9
"""More of anything than a study has; what is above may be more than a journal or a float holds."""

Positive = Annotated[int, Field(ge=1, le=MANY)]
Share = Annotated[float, Field(ge=0, le=1)]


def later(default: Any) -> Any:
    """The default of an option that was added to a part later.

    A configuration in which it has that default is written without it, so that configurations from
    before the option keep their digests.
    """
    return Field(exclude_if=lambda value: value == default)


def with_options(name: str, options: Mapping[str, str]) -> str:
    """`asha (reduction_factor: 3, second_chances: true)`: a part by name, with options as written."""
    told = ", ".join(f"{key}: {value}" for key, value in options.items())
    return f"{name} ({told})" if told else name


def says_none(value: Any) -> bool:
    """Whether `none` stands in a part's place: there is to be no such part."""
    return value in ("none", {"name": "none"})


LATER = "later"
"""Marks a key that was added later: configurations are written without it where it is not said."""


class Written(BaseModel):
    """What is written without the keys that were added later, where they are not said.

    Attributes:
        alone: what may stand in the mapping's place, in words; empty: nothing.
    """

    alone: ClassVar[str] = ""

    @model_serializer(mode="wrap")
    def _without_unsaid(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = write(self)
        for name, field in type(self).model_fields.items():
            if LATER in field.metadata and name not in self.model_fields_set:
                written.pop(name, None)
        return written


class Section(Written):
    """A mapping of the study file in which an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Part(Written):
    """A part by name, with its own options beside: `{name: dcgan, depth: 3}`, or just `dcgan`.

    The options belong to the part; the registry that finds it checks them.

    Attributes:
        name: the part, by name or as `package.module:Thing`; its own options stand beside.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)
    alone = "a name"

    name: str

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        if isinstance(value, Part) and not isinstance(value, cls):
            return value.model_dump()
        return {"name": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """What stands beside the name and the declared fields."""
        return dict(self.model_extra or {})
