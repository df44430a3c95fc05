"""KafkaOptions: where the brokers are, and how to be let in; for the source and the sink alike."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from dagflow.options import Duration, FilePath, Options, Secret

_LOCAL: Final = ("127.0.0.1", "localhost", "[::1]")


class KafkaOptions(Options):
    """The options of everything that speaks to Kafka."""

    servers: list[str] = Field(min_length=1, description="brokers to ask for the others, each as `HOST:PORT`")
    sasl: Literal["plain", "scram-sha-256", "scram-sha-512"] | None = Field(
        None, description="how `username` and `password` are proven"
    )
    username: str | None = Field(None, description="who this is")
    password: Secret | None = Field(None, description="what proves it")
    tls: bool = Field(False, description="encrypt, and check the brokers' certificates")
    ca_file: FilePath | None = Field(None, description="certificates that are trusted instead of the system's")
    cert_file: FilePath | None = Field(None, description="this side's certificate, where the brokers want one")
    key_file: FilePath | None = Field(None, description="the key of `cert_file`")
    request_timeout: Duration = Field(
        40.0, ge=0.1, description="how long a broker may take to answer, and a record to be acknowledged"
    )

    @field_validator("servers")
    @classmethod
    def _are_addresses(cls, servers: list[str]) -> list[str]:
        for server in servers:
            host, _, port = server.rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
                text = "`{server}` is no address; expected `HOST:PORT`, such as `kafka-1:9092`"
                raise PydanticCustomError("bad_address", text, {"server": server})
        return servers

    @model_validator(mode="after")
    def _fit(self) -> KafkaOptions:
        files = [name for name in ("ca_file", "cert_file", "key_file") if getattr(self, name)]
        if files and not self.tls:
            raise PydanticCustomError("tls_off", "`{name}` has no effect without `tls = true`", {"name": files[0]})
        if (self.cert_file is None) is not (self.key_file is None):
            raise PydanticCustomError("half_a_pair", "`cert_file` and `key_file` go together")
        given = {self.sasl is not None, self.username is not None, self.password is not None}
        if len(given) > 1:
            raise PydanticCustomError("half_a_login", "`sasl`, `username` and `password` go together")
        away = [server for server in self.servers if server.rpartition(":")[0] not in _LOCAL]
        if self.sasl == "plain" and not self.tls and away:
            text = "the `password` would travel in clear to `{server}`; set `tls = true`, or use `scram-sha-512`"
            raise PydanticCustomError("password_in_clear", text, {"server": away[0]})
        return self


CONNECTION: Final = frozenset(KafkaOptions.model_fields)
"""The options of a connection: none of them changes an answer."""
