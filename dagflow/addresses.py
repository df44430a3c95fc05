"""Addresses to listen at, written `HOST:PORT`; an IPv6 host stands in brackets."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

EXPECTED = "`HOST:PORT`, such as `127.0.0.1:8000`; port 0 takes any that is free"


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback_name(self.host)

    def at_port(self, port: int) -> Address:
        """Give the address with the port that was taken."""
        return Address(self.host, port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read `HOST:PORT`.

    Raises:
        ValueError: it is none.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    fits = bool(colon and host) and port.isascii() and port.isdecimal() and int(port) < 65536
    if (
        not fits
        or (":" in host) is not bracketed
        or any(character.isspace() or character in "/@" for character in host)
    ):
        raise ValueError(f"expected {EXPECTED}")
    return Address(host, int(port))


@lru_cache(maxsize=256)
def is_loopback_name(host: str) -> bool:
    """Whether a host name or address, without brackets, means this machine alone."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
