"""JSON Schema checks of answers: a thin border around the `jsonschema` library.

The library is imported when the first schema is compiled, as few files use one. Nothing is ever
fetched: a schema may refer to its own parts only. Patterns in a schema run as Python's `re` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dagflow.errors import InvalidOutput

if TYPE_CHECKING:
    from referencing import Resource
    from referencing._core import Resolver

_SHOWN: Final = 200  # characters of a finding that a message repeats; it quotes the answer
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")


class Schema:
    """A compiled JSON Schema, draft 2020-12 unless its `$schema` names another."""

    def __init__(self, schema: Any) -> None:
        """Compile the schema.

        Raises:
            ValueError: it is no schema, is of an unknown draft, or refers to another document.
        """
        from jsonschema import SchemaError
        from referencing import Registry
        from referencing.jsonschema import specification_with

        validator = _draft_of(schema)
        try:
            validator.check_schema(schema)
        except SchemaError as error:
            raise ValueError(f"it is no JSON Schema: `{error.json_path}`: {error.message[:_SHOWN]}") from None
        registry = Registry()
        resource = specification_with(validator.ID_OF(validator.META_SCHEMA)).create_resource(schema)
        _check_references(resource, registry.resolver_with_root(resource))
        self._validator = validator(schema, registry=registry)

    def check(self, value: Any) -> None:
        """Check one value.

        Raises:
            InvalidOutput: it is not as the schema says; the message gives the best explanation.
        """
        from jsonschema.exceptions import best_match

        try:
            finding = best_match(self._validator.iter_errors(value))
        except (RecursionError, OverflowError) as error:
            raise InvalidOutput(f"the answer cannot be checked against its schema: {error}") from None
        if finding is not None:
            text = finding.message[:_SHOWN]
            raise InvalidOutput(f"the answer does not fit its schema: `{finding.json_path}`: {text}")


def _draft_of(schema: Any) -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for

    declared = schema.get("$schema") if isinstance(schema, dict) else None
    if not isinstance(declared, str):
        return Draft202012Validator
    validator = validator_for(schema, default=None)
    if validator is None:
        raise ValueError(f"its `$schema` is no draft of JSON Schema that is known: `{declared}`")
    return validator


def _check_references(resource: Resource[Any], resolver: Resolver[Any]) -> None:
    from referencing.exceptions import Unresolvable

    contents = resource.contents if isinstance(resource.contents, dict) else {}
    for reference in (contents[key] for key in _REFERENCES if isinstance(contents.get(key), str)):
        try:
            resolver.lookup(reference)
        except Unresolvable:
            raise ValueError(
                f"`$ref` must lead to a part of the schema itself (`#/...`), not to `{reference}`"
            ) from None
    for part in resource.subresources():
        _check_references(part, resolver.in_subresource(part))
