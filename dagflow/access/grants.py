"""Grants: what a bearer token allows.

Only digests of tokens are kept, and each is compared in constant time, so that nothing can be learned from how long
a refusal takes.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from dagflow.access.quota import Quota

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagflow.config.auth_tables import TokenTable


class Grant:
    """What one token allows.

    Attributes:
        tenant: whose it is; None where the service asks for no token.
        max_priority: the highest priority of its requests; None for any.
        quota: how much it may use; None for any.
    """

    __slots__ = ("max_priority", "quota", "tenant")

    def __init__(self, tenant: str | None = None, max_priority: int | None = None, quota: Quota | None = None) -> None:
        self.tenant, self.max_priority, self.quota = tenant, max_priority, quota

    def scope(self, name: str) -> str:
        """Give a name that no other tenant can use."""
        return name if self.tenant is None else f"{self.tenant}/{name}"


ANYBODY = Grant()
"""What everybody may do where no token is asked for."""


class Grants:
    """The tokens of a pipeline.

    Args:
        before: those of an earlier plan: what was used of an allowance that is the same now stays used.
    """

    def __init__(self, tables: Sequence[TokenTable], before: Grants | None = None) -> None:
        known = {} if before is None else before._quotas
        self._grants: dict[bytes, Grant] = {}
        self._quotas: dict[tuple[Any, ...], Quota] = {}
        for table in tables:
            digest = bytes.fromhex(table.sha256) if table.token is None else _digest(table.token.get_secret_value())
            quota, key = None, (digest, table.requests, table.tokens)
            if table.requests or table.tokens:
                quota = self._quotas[key] = known.get(key) or Quota(table.requests, table.tokens)
            self._grants[digest] = Grant(table.tenant, table.max_priority, quota)

    def find(self, token: str) -> Grant | None:
        """Give what a token allows; None if nobody has such a token."""
        digest, found = _digest(token), None
        for known, grant in self._grants.items():
            if hmac.compare_digest(known, digest):
                found = grant
        return found


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()
