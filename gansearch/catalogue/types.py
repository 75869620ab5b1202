"""What an option takes, in words: its type, its range, its default."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import PydanticJsonSchemaWarning

from gansearch.errors import either
from gansearch.study.axes import in_full
from gansearch.study.sections import MANY, Part


def schema_of(model: type[BaseModel]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The JSON schema of a model's fields; empty where an annotation of the user's own has none."""
    try:
        with warnings.catch_warnings():  # defaults are read from the model itself
            warnings.simplefilter("ignore", PydanticJsonSchemaWarning)
            schema = model.model_json_schema()
    except PydanticInvalidForJsonSchema:
        return {}, {}
    return schema.get("properties", {}), schema.get("$defs", {})


def takes(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """What a JSON schema allows, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return "a part" if definitions[name].get("additionalProperties") is True else "a section"
    if "anyOf" in schema:
        return either(dict.fromkeys(takes(each, definitions) for each in schema["anyOf"]))
    if "const" in schema or "enum" in schema:
        return either(f"`{shown(value)}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"a list of {_PLURAL.get(takes(schema.get('items', {}), definitions), 'values')}"
    words, limits = _WORDS.get(schema.get("type", ""), "anything"), _limits(schema)
    return f"{words} {limits}" if limits else words


_WORDS = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false"}
_WORDS |= {"null": "null", "object": "a mapping"}
_PLURAL = {
    "a part": "parts",
    "a section": "sections",
    "text": "texts",
    "integer": "integers",
    "number": "numbers",
}


def _limits(schema: Mapping[str, Any]) -> str:
    """`>= 1`, `[0, 1)`: the range of a number; of `MANY` and more nobody need read."""
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    lower, upper = (above if low is None else low), (below if high is None else high)
    upper = None if upper is not None and lower is not None and upper >= MANY else upper
    if upper is None:
        return "" if lower is None else f"{'>' if low is None else '>='} {in_full(lower)}"
    if lower is None:
        return f"{'<' if high is None else '<='} {in_full(upper)}"
    return f"in {'(' if low is None else '['}{in_full(lower)}, {in_full(upper)}{')' if high is None else ']'}"


_EXPONENT = re.compile(r"e\+?(-?)0*")


def shown(value: Any) -> str:
    """A default as it stands in a study file."""
    if isinstance(value, Part):
        options = {k: v for k, v in value.model_dump().items() if v is not None and k != "name"}
        return shown({"name": value.name, **options} if options else value.name)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {shown(child)}' for key, child in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, bool | None):
        return json.dumps(value)
    if isinstance(value, float):
        return _EXPONENT.sub(r"e\1", f"{value:g}")
    return "see below" if isinstance(value, BaseModel) else str(value) or '""'
