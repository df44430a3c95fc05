"""The steps of stage `post`: each is a table of options that can change the text of an answer.

A step gets the text and the record; it returns the new text and may write fields. Steps run on
the event loop: `replace` with `regex = true` takes as long as the user's pattern does, which for
nested repetitions (`(a+)+`) can be for ever. What it does to a whole text, a step does as well to one
that comes in pieces, by its `stream`.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

import msgspec
from pydantic import BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from dagflow.errors import ExpressionError, InvalidOutput
from dagflow.expressions import Template
from dagflow.options import FilePath, Options
from dagflow.record import Record
from dagflow.rewriting import Gathered
from dagflow.stages.json_schema import Schema
from dagflow.stages.pii import redact
from dagflow.stages.pii_stream import Redacting
from dagflow.stages.text_streams import Replacing, Trimming

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagflow.rewriting import Transform

PiiKind = Literal["email", "iban", "credit_card", "us_ssn", "ipv4", "phone"]

_FENCED: Final = re.compile(r"```[\w+-]*[ \t]*\n(.*?)```", re.DOTALL)


def _table_or_path(value: Any) -> Any:
    if not isinstance(value, dict | str):
        raise PydanticCustomError("bad_schema", "expected a JSON Schema as a table, or the path of a JSON file")
    return value


def _bad_schema(reason: str) -> PydanticCustomError:
    return PydanticCustomError("bad_schema", "the schema cannot be used: {reason}", {"reason": reason})


class _Step(Options):
    """What all steps share.

    Attributes:
        hides: whether it applies to the model's reasoning as well, since a sink can show that.
    """

    hides: ClassVar[bool] = False

    @abstractmethod
    def apply(self, text: str, record: Record) -> str:
        """Return the text after this step.

        Raises:
            InvalidOutput: the text does not have the form that this step demands.
        """

    def stream(self, record: Record) -> Transform:
        """Give what does the same to a text that comes in pieces; here it holds all of it back until the end."""
        return Gathered(lambda text: self.apply(text, record))

    def writes(self) -> set[str]:
        """Fields that `apply` writes into the record."""
        return set()


class Trim(_Step):
    """Removes white space at both ends, and what is too much at the end."""

    type: Literal["trim"] = Field(description="which step this is")
    max_chars: int | None = Field(None, ge=1, description="the most characters that are kept, from the start")

    def apply(self, text: str, record: Record) -> str:
        text = text.strip()
        return text if self.max_chars is None or len(text) <= self.max_chars else text[: self.max_chars].rstrip()

    def stream(self, record: Record) -> Transform:
        return Trimming(self.max_chars)


class Replace(_Step):
    """Replaces every occurrence of a text or of a regular expression."""

    type: Literal["replace"] = Field(description="which step this is")
    find: str = Field(min_length=1, description="what is replaced, as it stands")
    replacement: str = Field(
        description=r"what comes instead; with `regex`, `\1` or `\g<name>` is a group of the match"
    )
    regex: bool = Field(
        False,
        description="whether `find` is a regular expression, as Python's `re` reads it;"
        " a match may be of any length, so a streamed answer is held back until its end",
    )

    _apply: Callable[[str], str] = PrivateAttr()

    @model_validator(mode="after")
    def _compile(self) -> Replace:
        if not self.regex:
            self._apply = lambda text: text.replace(self.find, self.replacement)
            return self
        try:
            pattern = re.compile(self.find)
            pattern.sub(self.replacement, "")  # reads the replacement, whether or not it matches
        except (re.error, IndexError) as error:
            raise PydanticCustomError(
                "bad_regex", "the regular expression does not work: {reason}", {"reason": str(error)}
            ) from None
        self._apply = lambda text: pattern.sub(self.replacement, text)
        return self

    def apply(self, text: str, record: Record) -> str:
        return self._apply(text)

    def stream(self, record: Record) -> Transform:
        return super().stream(record) if self.regex else Replacing(self.find, self.replacement)


class Redact(_Step):
    """Replaces what identifies a person, as far as its form tells it; also in the model's reasoning."""

    hides = True

    type: Literal["redact"] = Field(description="which step this is")
    kinds: list[PiiKind] = Field(
        ["email", "iban", "credit_card", "us_ssn", "ipv4", "phone"],
        min_length=1,
        description="what is replaced; cards and IBANs only where their check digits are right",
    )
    replacement: Template = Field(
        Template("[{{ kind }}]"), description="the template of what comes instead; `kind` is one of `kinds`"
    )

    _replacements: dict[str, str] = PrivateAttr()

    @model_validator(mode="after")
    def _render(self) -> Redact:
        unknown = sorted(self.replacement.names - {"kind"})
        if unknown:
            raise PydanticCustomError(
                "bad_replacement", "the replacement can use `kind` only, not `{name}`", {"name": unknown[0]}
            )
        try:
            self._replacements = {kind: self.replacement.render(Record({"kind": kind})) for kind in self.kinds}
        except ExpressionError as error:
            raise PydanticCustomError("bad_replacement", "{reason}", {"reason": str(error)}) from None
        return self

    def apply(self, text: str, record: Record) -> str:
        return redact(text, self._replacements)

    def stream(self, record: Record) -> Transform:
        return Redacting(self._replacements)


class Json(_Step):
    """Reads the answer as JSON, checks it, writes it into field `json`, and leaves its bare text.

    A streamed answer is held back until its end: nothing of one that does not fit is shown.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    type: Literal["json"] = Field(description="which step this is")
    # pydantic's models have an old method `schema`; hence the alias.
    expected: Annotated[dict[str, Any] | FilePath | None, BeforeValidator(_table_or_path)] = Field(
        None, alias="schema", description="the JSON Schema that it must fit: a table, or the path of a JSON file"
    )

    _schema: Schema | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _compile(self) -> Json:
        try:
            if self.expected is not None:
                inline = isinstance(self.expected, dict)
                self._schema = Schema(self.expected if inline else msgspec.json.decode(self.expected.read_bytes()))
        except OSError as error:
            raise _bad_schema(f"`{self.expected}`: {error.strerror}") from None
        except ValueError as error:
            raise _bad_schema(str(error)) from None
        return self

    def writes(self) -> set[str]:
        return {"json"}

    def apply(self, text: str, record: Record) -> str:
        fenced = _FENCED.search(text)
        bare = (fenced[1] if fenced else text).strip()
        try:
            value = msgspec.json.decode(bare)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise InvalidOutput(f"the answer is not JSON: {error}") from None
        except RecursionError:
            raise InvalidOutput("the answer is not JSON: it is nested too deeply") from None
        if self._schema is not None:
            self._schema.check(value)
        record["json"] = value
        return bare


Step = Annotated[Trim | Replace | Redact | Json, Field(discriminator="type")]
"""Any step, told apart by its `type`."""
