"""Conditions and templates: Jinja in its immutable sandbox, one small language for both.

An undefined name is false in a condition and an error in a template. Both are compiled once,
when the file is validated, and are usable as pydantic field types; neither can reach anything
but the fields of the record and its always-readable attributes. The sandbox is no bound on time and
memory: what an expression costs is the affair of whoever writes the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MappingView
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec
from jinja2 import ChainableUndefined, StrictUndefined, TemplateSyntaxError, UndefinedError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing
from pydantic_core import PydanticCustomError, core_schema

from dagflow.errors import ExpressionError
from dagflow.plain_expressions import join_pieces, look_up, path_in, pieces_of, without_undefined
from dagflow.record import ALWAYS_READABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import GetCoreSchemaHandler

    from dagflow.record import Record


_LAZY: Final = (Iterator, MappingView, range)
_LISTED: Final = 5  # keys that a message names
_LOADING: Final = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


class _Source:
    """What conditions and templates share: source text, free names, pydantic support."""

    what: ClassVar[str]
    code: ClassVar[str]

    def __init__(self, source: str) -> None:
        """Compile the text.

        Raises:
            ValueError: it does not parse; the message says why and where.
        """
        self.source = source
        try:
            self._run = self._compile()
        except TemplateSyntaxError as error:
            where = f" (line {error.lineno} of it)" if "\n" in source.strip() else ""
            raise ValueError(f"{error.message}{where}") from None

    def _compile(self) -> Callable[[Record], Any]:
        raise NotImplementedError  # pragma: no cover

    def _tree(self) -> nodes.Template:
        raise NotImplementedError  # pragma: no cover

    @cached_property
    def names(self) -> frozenset[str]:
        """Fields that the text uses, without the always-readable names."""
        return frozenset(meta.find_undeclared_variables(self._tree()) - ALWAYS_READABLE)

    @cached_property
    def required(self) -> frozenset[str]:
        """Those of `names` that it uses without asking `is defined` or giving a `default`."""
        return self.names - _guarded_names(self._tree())

    def _failure(self, error: Exception) -> ExpressionError:
        shown = " ".join(self.source.split())
        reason = str(error) or type(error).__name__
        return ExpressionError(self.what, shown if len(shown) <= 80 else shown[:77] + "...", reason)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        def build(value: str) -> _Source:
            try:
                return cls(value)
            except ValueError as error:
                raise PydanticCustomError(
                    cls.code, "the {what} does not parse: {reason}", {"what": cls.what, "reason": str(error)}
                ) from None

        return core_schema.no_info_after_validator_function(
            build,
            core_schema.str_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value.source),
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.source!r})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.source == self.source

    def __hash__(self) -> int:
        return hash(self.source)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Source:
        return self  # immutable, and what it was compiled to cannot be copied


class Expression(_Source):
    """One Jinja expression over a record: `input | length > 2000 or meta.tier == 'gold'`."""

    what = "condition"
    code = "bad_expression"

    def _compile(self) -> Callable[[Record], Any]:
        environment = _environment(ChainableUndefined)
        compiled = environment.compile_expression(self.source, undefined_to_none=True)
        path = path_in(self._tree())
        if path is None or path[0] in environment.globals:
            return lambda record: compiled(names_of(record))
        return partial(look_up, environment, path)

    def _tree(self) -> nodes.Template:
        return _environment(ChainableUndefined).parse("{{ (" + self.source + ") }}")

    def evaluate(self, record: Record) -> Any:
        """Compute the value; an undefined name gives None.

        Raises:
            ExpressionError: it failed on this record.
        """
        try:
            value = self._run(record)
            # Filters such as `select` are lazy: as they come they would always be true, and could be read once.
            return without_undefined(list(value) if isinstance(value, _LAZY) else value)
        except UndefinedError:
            return None
        except Exception as error:
            raise self._failure(error) from error

    def holds(self, record: Record) -> bool:
        """Whether the condition is true of the record.

        Raises:
            ExpressionError: it failed on this record.
        """
        value = self.evaluate(record)
        try:
            return bool(value)
        except Exception as error:  # an array of numbers, for one, is neither true nor false
            raise self._failure(error) from error


class _Missing(StrictUndefined):
    """An undefined name; tells of a missing key or attribute in words of the file, not of Python."""

    @property
    def _undefined_message(self) -> str:
        found, name = self._undefined_obj, self._undefined_name
        if found is missing or self._undefined_hint:
            return super()._undefined_message
        if not isinstance(found, Mapping):
            return f"there is no `{name}` in a value of type `{type(found).__name__}`"
        keys = ", ".join(f"`{key}`" for key in list(found)[:_LISTED]) + (", ..." if len(found) > _LISTED else "")
        return f"there is no `{name}` in a table {f'that has {keys}' if keys else 'that is empty'}"


class Template(_Source):
    """A Jinja text template over a record."""

    what = "template"
    code = "bad_template"

    def _compile(self) -> Callable[[Record], str]:
        other = next(self._tree().find_all(_LOADING), None)
        if other is not None:
            raise TemplateSyntaxError("a template cannot load another one; `${file:PATH}` can", other.lineno)
        environment = _environment(_Missing)
        render = environment.from_string(self.source).render

        def fill_in(record: Record) -> str:
            return render(names_of(record))

        pieces = pieces_of(self._tree(), environment)
        return fill_in if pieces is None else partial(join_pieces, pieces, fill_in)

    def _tree(self) -> nodes.Template:
        return _environment(_Missing).parse(self.source)

    def render(self, record: Record) -> str:
        """Fill the template in.

        Raises:
            ExpressionError: a name is undefined, or it failed on this record.
        """
        try:
            return self._run(record)
        except Exception as error:
            raise self._failure(error) from error


def names_of(record: Record) -> dict[str, Any]:
    """Give the names that an expression over this record may use, with their values."""
    return {
        "id": record.id,
        "session": record.session,
        "priority": record.priority,
        "deadline": record.deadline,
        "meta": record.meta,
        **record,
    }


@cache
def _environment(undefined: type[Any]) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=undefined, autoescape=False, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False
    )
    environment.filters["tojson"] = lambda value: msgspec.json.encode(value, enc_hook=_as_json).decode()
    return environment


def _as_json(value: Any) -> Any:
    if hasattr(value, "as_dict"):
        return value.as_dict()
    return dict(value)


def _guarded_names(tree: nodes.Template) -> set[str]:
    tests = {
        n.node.name
        for n in tree.find_all(nodes.Test)
        if n.name in ("defined", "undefined") and isinstance(n.node, nodes.Name)
    }
    defaults = {
        n.node.name
        for n in tree.find_all(nodes.Filter)
        if n.name in ("default", "d") and isinstance(n.node, nodes.Name)
    }
    return tests | defaults
