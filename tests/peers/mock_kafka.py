"""librdkafka's mock cluster as a program: it serves until its standard input ends, and obeys its lines.

    python mock_kafka.py BROKERS

It prints the addresses. Lines are `topic NAME PARTITIONS`, `down BROKER`, `up BROKER`, `rtt BROKER MILLISECONDS` and
`fail API ERROR...` (the next requests of that kind get these errors); each is answered by `ok` or `failed N`.
The functions are those of `rdkafka_mock.h`, in the library that the package `confluent-kafka` carries.
"""

from __future__ import annotations

import ctypes
import sys
from importlib.metadata import files
from typing import Any

PRODUCER = 0  # RD_KAFKA_PRODUCER; the client that owns the mock is otherwise idle


def load_library() -> Any:
    """Load librdkafka and say what its functions give."""
    import confluent_kafka  # noqa: F401  (loads what the library depends on)

    place = next(file for file in files("confluent-kafka") or () if file.name.startswith("librdkafka"))
    library = ctypes.CDLL(str(place.locate()))
    library.rd_kafka_new.restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library


class Mock:
    """A mock cluster in this process."""

    def __init__(self, brokers: int) -> None:
        self._library = load_library()
        reason = ctypes.create_string_buffer(512)
        owner = self._library.rd_kafka_new(PRODUCER, None, reason, ctypes.c_size_t(512))
        assert owner, reason.value
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_mock_cluster_new(ctypes.c_void_p(owner), brokers))
        # A new group would wait for more members for 3 seconds.
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, ctypes.c_int32(0))

    @property
    def addresses(self) -> str:
        """Where its brokers are, with commas between."""
        return self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def obey(self, verb: str, *words: str) -> int:
        """Do what a line says; 0 where it worked."""
        return getattr(self, f"on_{verb}")(*words) or 0

    def on_topic(self, name: str, partitions: str) -> int:
        """Create a topic."""
        return self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), int(partitions), 1)

    def on_down(self, broker: str) -> int:
        """Close a broker's connections and refuse new ones."""
        return self._library.rd_kafka_mock_broker_set_down(self._cluster, ctypes.c_int32(int(broker)))

    def on_up(self, broker: str) -> int:
        """Let a broker be reached again, with all that it holds."""
        return self._library.rd_kafka_mock_broker_set_up(self._cluster, ctypes.c_int32(int(broker)))

    def on_rtt(self, broker: str, milliseconds: str) -> int:
        """Make each of a broker's answers wait."""
        return self._library.rd_kafka_mock_broker_set_rtt(self._cluster, ctypes.c_int32(int(broker)), int(milliseconds))

    def on_fail(self, api: str, *errors: str) -> None:
        """Answer the next requests of a kind with errors; 0 is none."""
        numbers = (ctypes.c_int * len(errors))(*map(int, errors))
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(int(api)), ctypes.c_size_t(len(errors)), numbers
        )


def main() -> None:
    """Serve until the standard input ends."""
    mock = Mock(int(sys.argv[1]))
    print(mock.addresses, flush=True)
    for line in sys.stdin:
        failed = mock.obey(*line.split())
        print(f"failed {failed}" if failed else "ok", flush=True)


if __name__ == "__main__":
    main()
