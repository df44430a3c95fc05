"""Options of workers that ask a server over HTTP."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

from dagflow.options import FilePath, Options, Secret

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        (parts.hostname or "").encode("idna")
    except ValueError:  # the port, the brackets of an address, or a part of the name that is empty or too long
        fits = False
    if not fits or "\\" in url or any(character.isspace() for character in url):
        raise _bad_url("a URL that begins with `http://` or `https://` and names a host")
    if parts.username is not None or parts.password is not None:
        raise _bad_url("a URL without a user and password; a key stands in `api_key`, anything else in `extra_headers`")
    if parts.fragment:
        raise _bad_url("a URL without `#`")
    return url.rstrip("/")


def _bad_url(expected: str) -> PydanticCustomError:
    return PydanticCustomError("bad_url", "expected {expected}", {"expected": expected})


def _check_header_value(secret: SecretStr) -> SecretStr:
    if any(ord(character) < 32 or ord(character) == 127 for character in secret.get_secret_value()):
        raise PydanticCustomError("bad_header", "expected one line, without control characters")
    return secret


def _check_header_name(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise PydanticCustomError("bad_header", "expected the name of a header, of letters, digits and `-`")
    return name


def _check_body(body: dict[str, Any]) -> dict[str, Any]:
    for name in ("model", "messages", "prompt", "stream"):
        if name in body:
            remedy = "set the worker's own `model`" if name == "model" else "leave it out"
            text = "`{name}` is not for `extra_body`; {remedy}"
            raise PydanticCustomError("bad_body", text, {"name": name, "remedy": remedy})
    return body


BaseUrl = Annotated[str, AfterValidator(_check_url)]
"""Where a server's endpoints begin, without a slash at its end."""

HeaderName = Annotated[str, AfterValidator(_check_header_name)]
"""The name of a header."""

HeaderSecret = Annotated[Secret, AfterValidator(_check_header_value)]
"""A secret that can stand in a header."""


class HttpOptions(Options):
    """What every worker needs that asks a server over HTTP; the kinds of servers add to it."""

    base_url: BaseUrl = Field(description="where the server's endpoints begin")
    model: str | None = Field(
        None, min_length=1, description="the model to ask for; without it, the one that a record names"
    )
    api_key: HeaderSecret | None = Field(None, description="the key; write it as `${env:NAME}`")
    extra_headers: dict[HeaderName, HeaderSecret] = Field(
        {}, description="more headers of each request; their values are treated as secrets"
    )
    extra_body: Annotated[dict[str, Any], AfterValidator(_check_body)] = Field(
        {}, description="more keys of each request's body, which parameters of stages and records override"
    )
    ca_file: FilePath | None = Field(
        None, description="certificates in PEM that are trusted beside those of the system"
    )
    insecure_tls: bool = Field(False, description="accept any certificate: whoever is in between can read the key")
