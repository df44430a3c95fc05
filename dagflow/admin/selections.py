"""Selections: which dead letters a request means, by its query or by its body."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, ValidationError

from dagflow.errors import DagflowError
from dagflow.options import Options
from dagflow.store.letter import Selection
from dagflow.units import parse_moment

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST: Final = 2**63 - 1  # the greatest number that SQLite knows
_PAGE: Final = 50
_LARGEST_PAGE: Final = 500
_MOST_IDS: Final = 1000

_Number = Annotated[int, Field(ge=1, le=MOST)]


class WrongRequest(DagflowError):
    """A request says something that it can't mean; the message says what was expected."""

    code = "wrong-request"


class Chosen(Options):
    """The filters of `dagflow dlq`; those that are given hold together."""

    node: str | None = Field(None, description="what goes on at this node")
    error: str | None = Field(None, description="what failed with this code")
    since: str | None = Field(None, description="from this time on: an ISO time, or an age such as `2h`")
    before: str | None = Field(None, description="before this time")
    ids: list[_Number] = Field([], max_length=_MOST_IDS, description="letters of these numbers")
    records: list[str] = Field([], max_length=_MOST_IDS, description="letters of records with these ids")
    limit: _Number | None = Field(None, description="at most so many, oldest first")

    def selection(self, **more: Any) -> Selection:
        """Give the letters that are meant.

        Raises:
            WrongRequest: a time is none.
        """
        try:
            since, before = (None if t is None else parse_moment(t, time()) for t in (self.since, self.before))
        except ValueError as error:
            raise WrongRequest(str(error)) from None
        given = {"ids": tuple(self.ids), "records": tuple(self.records), "limit": self.limit}
        return Selection(self.node, self.error, since, before, **(given | more))


class Listed(Chosen):
    """The query of a list."""

    limit: int = Field(_PAGE, ge=1, le=_LARGEST_PAGE, description="at most so many on a page")
    after: _Number | None = Field(None, description="what comes behind this letter: the `next` of the page before")
    order: Literal["newest", "oldest"] = Field("newest", description="which come first")


class Meant(Chosen):
    """The body of a change."""

    all: bool = Field(False, description="whether all letters are meant where no filter is given")

    def selection(self, **more: Any) -> Selection:
        found = super().selection(**more)
        if found.is_everything and not self.all:
            raise WrongRequest("say which letters by a filter, or `all`")
        return found


class Resend(Meant):
    """The body of a replay."""

    from_start: bool = Field(False, description="whether records start at their source once more")
    discard_answers: bool = Field(False, description="whether `reply` sinks may answer callers who are gone")


def read_query(query: Mapping[str, str]) -> Listed:
    """Read the query of a list.

    Raises:
        WrongRequest: it has an unknown name or a wrong value.
    """
    return read(Listed, dict(query), strict=False)


def read_body(model: type[Any], body: Any) -> Any:
    """Read the body of a change.

    Raises:
        WrongRequest: it is no object, or has an unknown key or a wrong value.
    """
    if not isinstance(body, dict):
        raise WrongRequest("expected a JSON object")
    return read(model, body, strict=True)


def read(model: type[Any], values: dict[str, Any], strict: bool) -> Any:
    """Read some values as a model; those of a query are text, and not strict.

    Raises:
        WrongRequest: there is an unknown name or a wrong value.
    """
    try:
        return model.model_validate(values, strict=strict)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise WrongRequest(f"`{name}`: {first['msg'][:1].lower()}{first['msg'][1:]}") from None
