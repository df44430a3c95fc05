"""Options of source `http`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from dagflow.addresses import Address
from dagflow.options import Duration, FieldName, FilePath, ListenAddress, Options, Size

_PORT: Final = re.compile(r"[a-z][a-z0-9_-]*")
_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.-]+(:\d+)?|https?://\[[0-9A-Fa-f:]+\](:\d+)?")

_Wait = Annotated[Duration, Field(gt=0)]
_Count = Annotated[int, Field(ge=1)]


def _check_port(name: str) -> str:
    if not _PORT.fullmatch(name) or name == "error":
        raise PydanticCustomError("bad_port", "expected a name of lower-case letters, digits, `_` and `-`, not `error`")
    return name


def _check_origin(origin: str) -> str:
    if not _ORIGIN.fullmatch(origin):
        raise PydanticCustomError("bad_origin", "expected an origin, such as `https://app.example.com`, without a path")
    return origin.lower()


class TlsOptions(Options):
    """`tls` of source `http`."""

    cert: FilePath = Field(description="the server's certificate, with those that signed it, in PEM")
    key: FilePath = Field(description="its key, in PEM")
    client_ca: FilePath | None = Field(None, description="demand certificates of clients, signed by one of these")


class KeptOptions(Options):
    """`records` and `idempotency` of source `http`: what is remembered after it has settled."""

    ttl: _Wait = Field(3600.0, description="how long it is remembered")
    max_entries: _Count = Field(10_000, description="how many are remembered; the oldest go first")


class HttpOptions(Options):
    """Options of source `http`; times are in seconds, sizes in bytes."""

    listen: ListenAddress = Field(Address("127.0.0.1", 8000), description="where to listen; port 0 takes any")
    models: list[str] = Field([], description="the names that callers may ask for; any, if none is given")
    routes: dict[str, Annotated[str, AfterValidator(_check_port)]] = Field(
        {}, description='the port that a model\'s requests leave by, for edges `from = "NAME.PORT"`'
    )
    fields: list[FieldName] = Field(
        [], description="what each record of `/v1/records` has to have; the endpoints of models are not served then"
    )
    max_waiting: int = Field(
        0, ge=0, description="how many requests may wait for a place in the first edge; more are refused with 429"
    )
    request_timeout: _Wait = Field(
        600.0, description="the deadline of a request, from its arrival; a caller may ask for an earlier one"
    )
    on_disconnect: Literal["cancel", "continue"] = Field(
        "cancel", description="what becomes of a record whose caller has left"
    )
    insecure: bool = Field(
        False, description="listen beyond this machine without `[auth]`: anybody may use the service"
    )
    tls: TlsOptions | None = Field(None, description="serve over TLS")
    hosts: list[str] = Field(
        [], description="the names that requests may be for (`Host`); on loopback, those of this machine by default"
    )
    cors_origins: list[Annotated[str, AfterValidator(_check_origin)]] = Field(
        [], description="the web pages, by their origin, that may use the service from a browser"
    )
    max_body: Annotated[Size, Field(ge=1)] = Field(8 * 1024 * 1024, description="the largest body of a request")
    max_connections: _Count = Field(1024, description="how many connections may be open; more are refused with 503")
    body_timeout: _Wait = Field(30.0, description="how long a request's body may take to arrive")
    idle_timeout: _Wait = Field(
        75.0, description="how long a connection may be idle, or take to send the headers of a request"
    )
    write_timeout: _Wait = Field(
        30.0, description="how long a reader may take nothing of an answer before it is cut off"
    )
    ping_interval: _Wait = Field(15.0, description="the silence in a stream after which a comment keeps it alive")
    records: KeptOptions = Field(
        KeptOptions(), description="what `GET /v1/records/ID` finds after the record has settled"
    )
    idempotency: KeptOptions = Field(
        KeptOptions(ttl="24h"), description="the answers that the same `Idempotency-Key` gets again"
    )

    @model_validator(mode="after")
    def _knows_the_routed(self) -> Any:
        for model in self.routes:
            if self.models and model not in self.models:
                text = "`routes` has `{model}`, which is not among `models`"
                raise PydanticCustomError("unknown_route", text, {"model": model})
        return self
