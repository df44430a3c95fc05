"""Exporter `statsd`: metrics over UDP, as lines that StatsD and its kin read.

Counters go as what they grew by since the last lines. A histogram, which StatsD makes of single values only, goes as
the growth of its count and sum, and as gauges of its quantiles, to the bounds of its buckets.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field

from dagflow.options import Options
from dagflow.plugin import Exporter
from dagflow.telemetry.families import Buckets
from dagflow.telemetry.prometheus import prometheus_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dagflow.plugin import Context
    from dagflow.telemetry.families import Family

_DATAGRAM: Final = 1432  # bytes that fit into an Ethernet frame, whatever is on the way
_ODD: Final = re.compile(r"[^A-Za-z0-9_-]+")
_QUANTILES: Final = {"p50": 0.5, "p99": 0.99}


class Statsd(Exporter):
    """Sends lines such as `dagflow.records.delivered:5|c`, or with tags as Datadog has them."""

    class Options(Options):
        host: str = Field("127.0.0.1", min_length=1, description="where StatsD listens")
        port: Annotated[int, Field(ge=1, le=65535)] = Field(8125, description="the port, of UDP")
        prefix: str = Field("", description="what each name begins with, such as `prod.`")
        tags: Literal["none", "datadog"] = Field(
            "none", description="whether labels go as tags; else their values are parts of the name"
        )

    _transport: asyncio.DatagramTransport | None = None

    async def open(self, context: Context) -> None:
        await super().open(context)
        self._sent: dict[str, float] = {}
        loop, options = asyncio.get_running_loop(), self.options
        self._transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=(options.host, options.port)
        )

    async def export(self, families: Sequence[Family]) -> None:
        waiting: list[bytes] = []
        size = 0
        for line in self._lines(families):
            if waiting and size + len(line) + 1 > _DATAGRAM:
                self._transport.sendto(b"\n".join(waiting))
                waiting, size = [], 0
            waiting.append(line)
            size += len(line) + 1
        if waiting:
            self._transport.sendto(b"\n".join(waiting))

    async def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def _lines(self, families: Sequence[Family]) -> Iterator[bytes]:
        for family in families:
            name = prometheus_name(family)
            for sample in family.points:
                labels = dict(sample.labels)
                if isinstance(sample.value, Buckets):
                    yield from self._histogram(name, labels, sample.value)
                elif family.kind == "counter":
                    yield from self._growth(name, labels, sample.value)
                else:
                    yield from self._gauge(name, labels, sample.value)

    def _histogram(self, name: str, labels: dict[str, str], buckets: Buckets) -> Iterator[bytes]:
        yield from self._growth(f"{name}_count", labels, buckets.count)
        yield from self._growth(f"{name}_sum", labels, buckets.total)
        for suffix, share in _QUANTILES.items():
            if (value := buckets.quantile(share)) is not None:
                yield from self._gauge(f"{name}_{suffix}", labels, value)

    def _growth(self, name: str, labels: dict[str, str], value: float) -> Iterator[bytes]:
        line = self._named(name, labels, "{}|c")
        growth = value - self._sent.get(line, 0)
        self._sent[line] = value
        if growth:
            yield line.format(_number(growth)).encode()

    def _gauge(self, name: str, labels: dict[str, str], value: float) -> Iterator[bytes]:
        line = self._named(name, labels, "{}|g")
        if value < 0:  # a sign means a change, unless the gauge is 0 before
            yield line.format("0").encode()
        yield line.format(_number(value)).encode()

    def _named(self, name: str, labels: dict[str, str], form: str) -> str:
        start = f"{self.options.prefix}{name}".replace("{", "").replace("}", "")
        values = {key.replace(".", "_"): _ODD.sub("_", value).strip("_") or "_" for key, value in labels.items()}
        if self.options.tags == "datadog":
            tags = ",".join(f"{key}:{value}" for key, value in values.items())
            return f"{start}:{form}|#{tags}" if tags else f"{start}:{form}"
        return f"{'.'.join([start, *values.values()])}:{form}"


def _number(value: Any) -> str:
    return f"{value:.9f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
