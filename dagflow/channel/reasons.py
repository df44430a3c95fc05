"""Reasons: why a channel lost a record, as its books and dead letters say it."""

from typing import Final

TOO_LARGE: Final = "too_large"
BLOCK_TIMEOUT: Final = "block_timeout"
MAX_WAIT: Final = "max_wait"
CANCELLED: Final = "cancelled"
ABANDONED: Final = "abandoned"
UNREADABLE: Final = "unreadable"
