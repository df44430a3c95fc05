"""Shares: which of several processes, lanes or partitions a record belongs to; the same wherever it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

_MULTIPLIER: Final = 2862933555777941757  # of the linear congruential generator that the paper uses


def jump_hash(key: int, buckets: int) -> int:
    """Give the bucket of a 64-bit key; few keys move when there is one more bucket.

    Source: Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm" (2014).
    """
    bucket, following = -1, 0
    while following < buckets:
        bucket = following
        key = (key * _MULTIPLIER + 1) & 0xFFFFFFFFFFFFFFFF
        following = int((bucket + 1) * ((1 << 31) / ((key >> 33) + 1)))
    return bucket


@lru_cache(maxsize=4096)
def bucket_of(session: str, buckets: int, purpose: str = "") -> int:
    """Give the bucket of a session; those for two purposes have nothing to do with each other."""
    digest = blake2b(str(session).encode(errors="surrogatepass"), digest_size=8, person=purpose.encode()).digest()
    return jump_hash(int.from_bytes(digest, "big"), buckets)


@dataclass(frozen=True, slots=True)
class Share:
    """What one of several processes takes of a source that all of them read.

    Attributes:
        index, count: which process it is, of how many.
        by_session: whether records of one session must come to one process.
        folder: where processes may meet; None where there is only one.
    """

    index: int = 0
    count: int = 1
    by_session: bool = False
    folder: Path | None = None

    @property
    def is_all(self) -> bool:
        """Whether there is nothing to share."""
        return self.count == 1

    def takes(self, key: bytes, session: str | None = None) -> bool:
        """Whether a record is its own: by its session, where these stay together, else by its key."""
        if self.by_session and session is not None:
            return bucket_of(session, self.count, "process") == self.index
        return int.from_bytes(key[-8:], "big") % self.count == self.index


WHOLE: Final = Share()
"""That of a process that is alone."""
