"""`[auth]`: who may use the services of a pipeline, as whom, and how much."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from dagflow.options import Allowance, FilePath, Options, Secret, TokenAllowance

_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SHORTEST: Final = 16  # characters of a token; fewer can be guessed
_TENANTS_HINT: Final = "letters, digits, `_`, `.` and `-`, at most 64"


def _check_tenant(name: str) -> str:
    if not _TENANT.fullmatch(name):
        raise PydanticCustomError("bad_tenant", "expected {expected}", {"expected": _TENANTS_HINT})
    return name


def _check_token(secret: Secret) -> Secret:
    token = secret.get_secret_value()
    if len(token) < _SHORTEST or not token.isascii() or any(c.isspace() or not c.isprintable() for c in token):
        text = "expected at least {n} characters of plain ASCII, without spaces"
        raise PydanticCustomError("bad_token", text, {"n": _SHORTEST})
    return secret


def _check_hash(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise PydanticCustomError("bad_hash", "expected the SHA-256 of a token, 64 hexadecimal digits")
    return text.lower()


class TokenTable(Options):
    """One element of `tokens`."""

    token: Annotated[Secret, AfterValidator(_check_token)] | None = Field(
        None, description="the bearer token; write it as `${env:NAME}`"
    )
    sha256: Annotated[str, AfterValidator(_check_hash)] | None = Field(
        None, description="the SHA-256 of the token instead of it, in hexadecimal digits"
    )
    tenant: Annotated[str, AfterValidator(_check_tenant)] = Field(
        description="whose token it is; the records, sessions and idempotency keys of a tenant are its own"
    )
    max_priority: int = Field(0, description="the highest priority that its requests may have")
    requests: Allowance | None = Field(None, description="how many requests it may make in any such time")
    tokens: TokenAllowance | None = Field(
        None, description="how many tokens of models it may use in any such time, input and output together"
    )

    @model_validator(mode="after")
    def _has_one(self) -> TokenTable:
        if (self.token is None) is (self.sha256 is None):
            raise PydanticCustomError("no_token", "expected either `token` or `sha256`")
        return self


class _TokenFile(Options):
    tokens: list[TokenTable] = Field(min_length=1)


def read_token_file(path: Path) -> list[TokenTable]:
    """Read the tokens of a file: TOML with `[[tokens]]`, each with `sha256` and what else `[auth]` knows of a token.

    Raises:
        ValueError: it can't be read, or holds something else.
    """
    try:
        return _TokenFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).tokens
    except OSError as error:
        raise ValueError(f"`{path}` can't be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"`{path}`: `{place}`: {first['msg']}") from None
    except ValueError:  # neither TOML nor UTF-8; the parser's words may show a line of it
        raise ValueError(f"`{path}` is no TOML file with `[[tokens]]`") from None


def all_tokens(table: AuthTable) -> list[TokenTable]:
    """Give the tokens of the table, and those of its file as it is now.

    Raises:
        ValueError: as `read_token_file`.
    """
    return [*table.tokens, *(read_token_file(table.file) if table.file is not None else ())]


def _check_file(path: Path) -> Path:
    try:
        read_token_file(path)
    except ValueError as error:
        raise PydanticCustomError("bad_token_file", "{reason}", {"reason": str(error)}) from None
    return path


class AuthTable(Options):
    """`[auth]`."""

    tokens: list[TokenTable] = Field([], description="the bearer tokens that are accepted")
    file: Annotated[FilePath, AfterValidator(_check_file)] | None = Field(
        None, description="a TOML file with more of them, as `[[tokens]]` with `sha256`"
    )

    @model_validator(mode="after")
    def _accepts_somebody(self) -> Any:
        if not self.tokens and self.file is None:
            raise PydanticCustomError("no_tokens", "expected `tokens`, `file` or both: nobody could use the service")
        return self
