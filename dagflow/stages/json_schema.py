"""JSON Schema checks of answers: a thin border around the `jsonschema` library.

The library is imported when the first schema is compiled, as few files use one. Nothing is ever
fetched: a schema may refer to its own parts only.
"""

from __future__ import annotations

from typing import Any, Final

from dagflow.errors import InvalidOutput

_SHOWN: Final = 200  # characters of a finding that a message repeats; it quotes the answer


class Schema:
    """A compiled JSON Schema, draft 2020-12 unless its `$schema` names another."""

    def __init__(self, schema: Any) -> None:
        """Compile the schema.

        Raises:
            ValueError: it is no schema, or it refers to another document.
        """
        from jsonschema import Draft202012Validator, SchemaError
        from jsonschema.validators import validator_for
        from referencing import Registry

        validator = validator_for(schema, default=Draft202012Validator)
        try:
            validator.check_schema(schema)
        except SchemaError as error:
            raise ValueError(f"it is no JSON Schema: `{error.json_path}`: {error.message[:_SHOWN]}") from None
        _check_references(schema, schema)
        self._validator = validator(schema, registry=Registry())

    def check(self, value: Any) -> None:
        """Check one value.

        Raises:
            InvalidOutput: it is not as the schema says; the message gives the best explanation.
        """
        if self._validator.is_valid(value):
            return
        from jsonschema.exceptions import best_match

        finding = best_match(self._validator.iter_errors(value))
        raise InvalidOutput(f"the answer does not fit its schema: `{finding.json_path}`: {finding.message[:_SHOWN]}")


def _check_references(part: Any, schema: Any) -> None:
    if isinstance(part, dict):
        reference = part.get("$ref")
        if isinstance(reference, str) and not _resolves(reference, schema):
            raise ValueError(f"`$ref` must lead to a part of the schema itself (`#/...`), not to `{reference}`")
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            _check_references(inner, schema)


def _resolves(reference: str, schema: Any) -> bool:
    if reference == "#":
        return True
    for key in reference.removeprefix("#/").split("/"):
        key = key.replace("~1", "/").replace("~0", "~")
        if isinstance(schema, list) and key.isdigit() and int(key) < len(schema):
            schema = schema[int(key)]
        elif isinstance(schema, dict) and key in schema:
            schema = schema[key]
        else:
            return False
    return reference.startswith("#/")
