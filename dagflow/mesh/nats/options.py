"""The options of a connection to NATS."""

from __future__ import annotations

import re
from typing import Final

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from dagflow.options import Duration, FilePath, Options, Secret

_URL: Final = re.compile(r"(?:(?:nats|tls)://)?(?P<user>[^@/]*@)?(?:\[[0-9a-fA-F:]+\]|[^:@/\s\[\]]+)(?::\d+)?/?")
_OF_TLS: Final = ("ca_file", "cert_file", "key_file", "server_name")
_WAYS: Final = ("user", "token", "credentials", "nkey")


class NatsOptions(Options):
    """Where the servers are, and who this is."""

    servers: list[str] = Field(
        ["nats://127.0.0.1:4222"], min_length=1, description="addresses of servers of one cluster, as URLs"
    )
    user: str | None = Field(None, description="the name of the user, where the servers know users by passwords")
    password: Secret | None = Field(None, description="the password of `user`")
    token: Secret | None = Field(None, description="the token, where the servers demand one")
    credentials: FilePath | None = Field(None, description="a file of credentials, with a JWT and the seed of its key")
    nkey: Secret | None = Field(None, description="the seed of an NKey")
    tls: bool = Field(False, description="encrypt, and check the certificate of the server")
    ca_file: FilePath | None = Field(None, description="certificates that are trusted instead of the system's")
    cert_file: FilePath | None = Field(None, description="this side's certificate, where the servers want one")
    key_file: FilePath | None = Field(None, description="the key of `cert_file`")
    server_name: str | None = Field(None, description="the name in the server's certificate, if not the host's")
    connect_timeout: Duration = Field(10.0, gt=0, description="how long a start waits for a server to answer")

    @field_validator("servers")
    @classmethod
    def _are_urls(cls, servers: list[str]) -> list[str]:
        for server in servers:
            found = _URL.fullmatch(server)
            if found is None:
                text = "`{server}` is no address; expected one such as `nats://host:4222`"
                raise PydanticCustomError("bad_server", text, {"server": server})
            if found["user"]:
                text = "credentials in a URL would be shown; use `user` and `password`, or `token`"
                raise PydanticCustomError("credentials_in_url", text)
        return servers

    @model_validator(mode="after")
    def _fits(self) -> NatsOptions:
        if (self.user is None) is not (self.password is None):
            raise PydanticCustomError("half_a_pair", "`user` and `password` go together")
        if (self.cert_file is None) is not (self.key_file is None):
            raise PydanticCustomError("half_a_pair", "`cert_file` and `key_file` go together")
        ways = [name for name in _WAYS if getattr(self, name) is not None]
        if len(ways) > 1:
            text = "`{first}` and `{second}` exclude each other"
            raise PydanticCustomError("ways_to_log_in", text, {"first": ways[0], "second": ways[1]})
        unused = [name for name in _OF_TLS if getattr(self, name) is not None and not self.tls]
        if unused:
            raise PydanticCustomError("tls_off", "`{name}` has no effect without `tls = true`", {"name": unused[0]})
        return self


CONNECTION: Final = frozenset(NatsOptions.model_fields)
"""The options of a connection: none of them changes an answer."""
