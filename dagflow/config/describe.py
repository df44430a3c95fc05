"""Options in words: name, type, default and description, for people who write files.

Types come from the JSON Schema, so that this page and an editor say the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from dagflow.config.references import PATTERN
from dagflow.config.schema import model_schema
from dagflow.config.values import render_value

if TYPE_CHECKING:
    from pydantic import BaseModel


class Option(NamedTuple):
    """One option, in words."""

    name: str
    type: str
    default: str
    description: str


def describe_options(model: type[BaseModel]) -> list[Option]:
    """Describe each option of a model, in its order."""
    definitions: dict[str, Any] = {}
    schema = model_schema(model, "", definitions)
    return [
        Option(name, _type(about, definitions), _default(name, about, schema), about.get("description", ""))
        for name, about in schema.get("properties", {}).items()
    ]


def _default(name: str, about: dict[str, Any], schema: dict[str, Any]) -> str:
    if name in schema.get("required", ()):
        return "required"
    return render_value(about["default"]) if "default" in about else "-"


def _type(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _type(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    members = [member for member in schema.get("anyOf", ()) if member.get("pattern") != PATTERN]
    if members:
        words = " or ".join(dict.fromkeys(_type(member, definitions) for member in members))
    elif "enum" in schema or "const" in schema:
        words = " or ".join(map(render_value, schema.get("enum", [schema.get("const")])))
    else:
        words = _plain_type(schema, definitions)
    examples = schema.get("examples")
    return f"{words} such as {render_value(examples[0])}" if examples else words


def _plain_type(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    kind = schema.get("type")
    if kind == "array":
        return f"array of {_type(schema.get('items', {}), definitions)}"
    if kind == "object":
        return f"table ({', '.join(schema['properties'])})" if "properties" in schema else "table"
    return {"path": "path", "password": "secret"}.get(schema.get("format", ""), kind or "any value")
