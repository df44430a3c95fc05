"""Shape: walks the values of a table along the types of an options model.

It finds what pydantic does not tell: keys that a model silently ignores, and which values are
secrets or names of workers, however deep they stand. Values may be wrong; the walk goes as far
as they fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, RootModel, SecretBytes, SecretStr

from dagflow.options import WorkerReference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from dagflow.config.keys import Key

Model = type[BaseModel]


class Leaf(NamedTuple):
    """One value, and what its model says of it."""

    key: Key
    value: Any
    annotation: Any
    markers: tuple[Any, ...]

    @property
    def is_worker(self) -> bool:
        """Whether the value names a worker of the file."""
        return any(isinstance(marker, WorkerReference) for marker in self.markers)


def is_secret(annotation: Any) -> bool:
    """Whether a value of the type must never be shown."""
    types = [member for member, _ in _members(annotation, ())]
    return any(isinstance(t, type) and issubclass(t, SecretStr | SecretBytes) for t in types)


def fields_of(model: Model) -> dict[str, FieldInfo]:
    """Give the fields of a model by the names that they have in the file."""
    return {name: field for field_name, field in model.model_fields.items() for name in _names(field_name, field)}


def leaves(annotation: Any, value: Any, key: Key = (), markers: tuple[Any, ...] = ()) -> Iterator[Leaf]:
    """Give every value below `value` that is itself no table or array of the annotated type; None is no value."""
    for member, marks in _members(annotation, markers) if value is not None else ():
        if isinstance(value, dict) and is_model(member):
            fields = fields_of(member)
            for name in filter(fields.__contains__, value):
                yield from leaves(fields[name].annotation, value[name], (*key, name), tuple(fields[name].metadata))
        elif isinstance(value, dict) and _is_mapping(member):
            for name, item in value.items():
                yield from leaves(_last_argument(member), item, (*key, name))
        elif isinstance(value, list) and get_args(member) and not _is_mapping(member):
            for index, item in enumerate(value):
                yield from leaves(get_args(member)[0], item, (*key, index))
        else:
            yield Leaf(key, value, member, marks)


def named_workers(options: BaseModel) -> list[Leaf]:
    """Give the workers that options name, defaults included."""
    values = options.model_dump(by_alias=True, warnings=False)
    return [leaf for leaf in leaves(type(options), values) if leaf.is_worker]


def unknown_keys(annotation: Any, value: Any, key: Key = ()) -> Iterator[tuple[Key, set[str]]]:
    """Give the keys that no model knows, with the names that it does know.

    The outermost model is taken strictly. One further inside that says `extra="allow"` may
    have any keys.
    """
    members = [member for member, _ in _members(annotation, ())]
    models = [member for member in members if is_model(member)]
    if isinstance(value, dict) and models:
        yield from _unknown_in_models(models, value, key)
    elif isinstance(value, dict):
        for mapping in filter(_is_mapping, members):
            for name, item in value.items():
                yield from unknown_keys(_last_argument(mapping), item, (*key, name))
    elif isinstance(value, list):
        for sequence in filter(get_args, members):
            for index, item in enumerate(value):
                yield from unknown_keys(get_args(sequence)[0], item, (*key, index))


def _unknown_in_models(models: list[Model], value: dict[str, Any], key: Key) -> Iterator[tuple[Key, set[str]]]:
    fields = [fields_of(model) for model in models]
    names = {name for known in fields for name in known}
    open_ended = bool(key) and any(model.model_config.get("extra") == "allow" for model in models)
    for name, item in value.items():
        homes = [known[name] for known in fields if name in known]
        if not homes and not open_ended:
            yield (*key, name), names
        elif len(homes) == 1:  # where several models of a union have the key, only pydantic knows which is meant
            yield from unknown_keys(homes[0].annotation, item, (*key, name))


def _members(annotation: Any, markers: tuple[Any, ...]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    annotation = getattr(annotation, "__value__", annotation)  # `type Alias = ...`
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        yield from _members(inner, (*markers, *marks))
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _members(member, markers)
    elif is_model(annotation) and issubclass(annotation, RootModel):
        yield from _members(annotation.model_fields["root"].annotation, markers)
    elif annotation is not type(None):
        yield annotation, markers


def _names(field_name: str, field: FieldInfo) -> Iterator[str]:
    alias = field.validation_alias or field.alias
    choices = getattr(alias, "choices", [alias])
    names = [choice for choice in choices if isinstance(choice, str)]
    yield from names or [field_name]


def is_model(annotation: Any) -> bool:
    """Whether it is the type of a table."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _is_mapping(annotation: Any) -> bool:
    origin = get_origin(annotation) or annotation
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _last_argument(annotation: Any) -> Any:
    return (get_args(annotation) or (Any,))[-1]
