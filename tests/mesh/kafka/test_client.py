"""The client library: what it is given, and what is told where it is not there or brokers refuse."""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
from contextlib import asynccontextmanager

import pytest
import trustme
from aiokafka import errors
from peers.kafka_brokers import Tansu
from peers.kafka_client import Desk, Pipe
from peers.processes import free_port

from dagflow.errors import PluginError
from dagflow.mesh.kafka.client import load_aiokafka, reason_of, settings
from dagflow.mesh.kafka.options import KafkaOptions
from dagflow.record import Record
from dagflow.sinks.kafka import Kafka as KafkaSink
from dagflow.sources.kafka import Kafka as KafkaSource
from dagflow.testing.alone import build_context

pytestmark = pytest.mark.anyio

HERE = {"servers": ["127.0.0.1:9"]}


@pytest.mark.parametrize(
    "plugin",
    [
        KafkaSource(KafkaSource.Options(**HERE, topics=["t"], group="g")),
        KafkaSink(KafkaSink.Options(**HERE, topic="t")),
    ],
    ids=["source", "sink"],
)
async def test_a_library_that_is_not_there_is_named_with_its_extra(monkeypatch, plugin):
    """Both say how to install it."""
    monkeypatch.setitem(sys.modules, "aiokafka", None)
    with pytest.raises(PluginError, match=r"`kafka` needs aiokafka; .*dagflow-engine\[kafka\]"):
        await plugin.open(build_context("node"))
    await plugin.close()


def test_nothing_of_it_goes_to_the_standard_error(capsys):
    """What it logs comes as errors of the source and the sink."""
    load_aiokafka("this")
    logging.getLogger("aiokafka.conn").error("noise")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ({}, {"security_protocol": "PLAINTEXT", "request_timeout_ms": 40_000, "bootstrap_servers": ["127.0.0.1:9"]}),
        ({"request_timeout": "1s"}, {"request_timeout_ms": 1000}),
        (
            {"sasl": "scram-sha-256", "username": "ann", "password": "pw"},
            {
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "SCRAM-SHA-256",
                "sasl_plain_username": "ann",
                "sasl_plain_password": "pw",
            },
        ),
        ({"sasl": "plain", "username": "a", "password": "b", "tls": True}, {"security_protocol": "SASL_SSL"}),
        ({"tls": True}, {"security_protocol": "SSL"}),
    ],
)
def test_what_a_client_is_given(options, given):
    """How to reach the brokers, and what proves who this is."""
    found = settings(KafkaOptions(**HERE, **options))
    assert {name: found[name] for name in given} == given
    assert ("ssl_context" in found) is ("SSL" in found["security_protocol"].split("_"))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.SaslAuthenticationFailed(), "do not accept `username` and `password`"),
        (errors.GroupAuthorizationFailedError(), "do not let this user use the group"),
        (errors.UnknownTopicOrPartitionError(), "there is no such topic"),
        (errors.KafkaTimeoutError(), "within `request_timeout`"),
        (errors.KafkaConnectionError(), "none of `k:1`, `k:2` can be reached"),
        (errors.UnknownError(), "UnknownError"),
    ],
)
def test_reasons(error, reason):
    """In words that say what to do; what is not known stays as it is."""
    assert reason in reason_of(error, ["k:1", "k:2"])


@asynccontextmanager
async def encrypted(folder):
    """A broker behind what speaks TLS with clients whom it knows; give a desk there, and the files of one."""
    authority, port = trustme.CA(), free_port()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    own = authority.issue_cert("client@example.com")
    files = {name: folder / f"{name}.pem" for name in ("ca_file", "cert_file", "key_file")}
    authority.cert_pem.write_to_path(files["ca_file"])
    own.cert_chain_pems[0].write_to_path(files["cert_file"])
    own.private_key_pem.write_to_path(files["key_file"])
    with Tansu(folder, advertised=port) as broker:

        async def carry(reader, writer):
            try:
                while data := await reader.read(65536):
                    writer.write(data)
            finally:  # also where the event loop ends before the client has left
                writer.transport.abort()

        async def serve(reader, writer):
            far = await asyncio.open_connection("127.0.0.1", broker.port)
            await asyncio.gather(carry(reader, far[1]), carry(far[0], writer), return_exceptions=True)

        async with await asyncio.start_server(serve, "127.0.0.1", port, ssl=context):
            yield Desk(broker, 1), {"tls": True, **files}


async def test_tls(tmp_path):
    """With the certificates a record goes and comes; without one of this side, or without trust, nothing does."""
    async with encrypted(tmp_path) as (desk, files):
        sink = desk.sink(**files)
        await sink.open(build_context("out"))
        await sink.write(Record({"input": "x"}, "a"))
        await sink.close()
        pipe = Pipe(tmp_path, desk.source(**files))
        assert await pipe.run() == {"delivered": 1}
        for options in ({"tls": True, "ca_file": files["ca_file"]}, {"tls": True}, {}):
            sink = desk.sink(**options, request_timeout="500ms")
            with pytest.raises(PluginError):
                await sink.open(build_context("out"))
            await sink.close()
