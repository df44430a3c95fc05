"""The JSON Schema of the language, for editors: the engine's keys and those of given plugins.

It says no more than a file's text can decide: a string with a reference may stand wherever a
value is expected.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import GenerateJsonSchema

from dagflow.config.effective import dump
from dagflow.config.metrics_tables import ExporterTable, MetricsTable
from dagflow.config.references import PATTERN
from dagflow.config.tables import NAME_PATTERN, NAMED_TABLES, OPTIONAL_SETTINGS, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

_REFERENCE: Final = {"type": "string", "pattern": PATTERN}


def build_schema(plugins: Mapping[str, Mapping[str, type[Any]]]) -> dict[str, Any]:
    """Give the schema (draft 2020-12) of files that use these plugins.

    Args:
        plugins: for each kind, the class of every name that `type` may have.
    """
    definitions: dict[str, Any] = {}
    settings = SETTINGS | OPTIONAL_SETTINGS
    properties = {name: model_schema(model, name, definitions) for name, model in settings.items()}
    properties["metrics"] = _metrics(plugins.get("exporter", {}), definitions)
    for kind in NAMED_TABLES:
        properties[f"{kind}s"] = {
            "type": "object",
            "propertyNames": {"pattern": f"^{NAME_PATTERN}$"},
            "additionalProperties": {"anyOf": _tables(kind, plugins.get(kind, {}), definitions)},
        }
    properties["metrics"] = _metrics(plugins.get("exporter", {}), definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "dagflow pipeline",
        "type": "object",
        "properties": properties,
        "required": ["pipeline", "sources", "sinks"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _metrics(exporters: Mapping[str, type[Any]], definitions: dict[str, Any]) -> dict[str, Any]:
    """Give the schema of `[metrics]`, which has a table for each exporter, called like its type."""
    schema = model_schema(MetricsTable, "metrics", definitions)
    for name, cls in exporters.items():
        engine = model_schema(ExporterTable, "exporter", definitions)
        options = model_schema(cls.Options, f"exporter.{name}", definitions)
        both = engine["properties"] | options.get("properties", {})
        schema["properties"][name] = {**options, "description": _summary(cls), "properties": both}
    return schema


def model_schema(model: type[BaseModel], prefix: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Give the schema of one model; what it refers to is put into `definitions`, under names with the prefix."""
    schema = model.model_json_schema(ref_template=f"#/$defs/{prefix}.{{model}}", schema_generator=_Generator)
    for name, definition in schema.pop("$defs", {}).items():
        definitions[f"{prefix}.{name}"] = _tidy(definition)
    if "$ref" in schema:  # a model that contains itself
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    schema = _tidy(schema)
    defaults = dump(model.model_construct())
    for name, value in schema.get("properties", {}).items():
        value.pop("default", None)
        if name in defaults:
            value["default"] = defaults[name]
    return {**schema, "additionalProperties": False}


class _Generator(GenerateJsonSchema):
    """Leaves open what JSON Schema has no word for."""

    ignored_warning_kinds = frozenset({"skipped-choice", "non-serializable-default"})  # type: ignore[assignment]

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        return {}


def _metrics(exporters: Mapping[str, type[Any]], definitions: dict[str, Any]) -> dict[str, Any]:
    """Describe `[metrics]`: its own keys, and a table for each exporter."""
    engine = model_schema(ExporterTable, "exporter", definitions)
    schema = model_schema(MetricsTable, "metrics", definitions)
    for name, cls in exporters.items():
        options = model_schema(cls.Options, f"exporter.{name}", definitions)
        schema["properties"][name] = options | {"properties": engine["properties"] | options.get("properties", {})}
    return schema


def _tables(kind: str, classes: Mapping[str, type[Any]], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """Define one table for each class, and give references to them and to a table whose type is not known."""
    references = []
    for cls in dict.fromkeys(classes.values()):
        names = [name for name, offered in classes.items() if offered is cls]
        prefix = f"{kind}.{names[0]}"
        definitions[prefix] = _table(kind, names, cls, prefix, definitions)
        references.append({"$ref": f"#/$defs/{prefix}"})
    return [*references, {"type": "object", "properties": {"type": _REFERENCE}, "required": ["type"]}]


def _table(kind: str, names: list[str], cls: type[Any], prefix: str, definitions: dict[str, Any]) -> dict[str, Any]:
    engine = model_schema(NAMED_TABLES[kind], kind, definitions)
    options = model_schema(cls.Options, prefix, definitions)
    properties = engine["properties"] | {"type": {"enum": names}} | options.get("properties", {})
    required = ["type", *options.get("required", ())]
    return {**options, "description": _summary(cls), "properties": properties, "required": required}


def _summary(cls: type[Any]) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def _tidy(schema: Any) -> Any:
    """Drop titles and nulls, which TOML lacks, and allow references."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    left_out = {"title", "discriminator"} if _fits_default(schema) else {"title", "discriminator", "default"}
    tidied = {key: _tidied_part(key, value) for key, value in schema.items() if key not in left_out}
    members = _without_null([*tidied.pop("anyOf", ()), *tidied.pop("oneOf", ())])
    if len(members) == 1 and members[0].keys().isdisjoint(tidied):
        tidied |= members[0]
    elif members:
        tidied["anyOf"] = members
    return _loosened(tidied)


def _fits_default(schema: dict[str, Any]) -> bool:
    """Whether the default has the form of the file: not null, and no bare number for a value with a unit."""
    default = schema.get("default")
    return default is not None and not (schema.get("type") == "string" and not isinstance(default, str))


def _tidied_part(key: str, value: Any) -> Any:
    if key in ("properties", "patternProperties"):
        return {name: _tidy(item) for name, item in value.items()}
    subschemas = ("items", "prefixItems", "additionalProperties", "anyOf", "oneOf", "allOf")
    return _tidy(value) if key in subschemas else value


def _without_null(members: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [member for member in members if member.get("type") != "null"]


def _loosened(schema: dict[str, Any]) -> dict[str, Any]:
    """Allow a reference where a string of any form is not allowed already."""
    constraints = {"enum", "const", "pattern", "format", "minLength", "maxLength"}
    narrow = schema.get("type") in ("integer", "number", "boolean") or constraints & schema.keys()
    if not narrow or "properties" in schema:
        return schema
    about = {key: schema[key] for key in ("description", "default", "examples") if key in schema}
    exact = {key: value for key, value in schema.items() if key not in about}
    return {**about, "anyOf": [exact, _REFERENCE]}
