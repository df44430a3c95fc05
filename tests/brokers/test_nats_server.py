"""The real `nats-server`: what it keeps over a kill, whom it lets in, and a cluster that loses its leader."""

from __future__ import annotations

import asyncio
import ssl

import nats
import pytest
import trustme
from nats.js.api import StorageType
from peers.nats_server import Certificates, NatsCluster, NatsServer
from service import until

# nats-py leaves the socket of a connection that it was refused to the garbage collector.
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]


async def connect(url, **options):
    """Connect as a test does: at once or not at all."""
    return await nats.connect(url, allow_reconnect=False, connect_timeout=5, **options)


async def test_what_is_stored_outlives_a_kill(tmp_path):
    """After signal 9 and a new start, at the same address, everything that was acknowledged is there."""
    with NatsServer(tmp_path) as server:
        client = await connect(server.url)
        await client.jetstream().add_stream(name="S", subjects=["s.>"], storage=StorageType.FILE)
        for number in range(10):
            await client.jetstream().publish("s.x", b"%d" % number)
        url, pid = server.url, server.pid
        await client.close()
        server.restart()
        assert server.url == url
        assert server.pid != pid
        client = await connect(server.url)
        assert (await client.jetstream().stream_info("S")).state.messages == 10
        await client.close()
    assert server.pid is None


async def published(stream, data):
    """Publish to the subject `s` as soon as it can be done."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await stream.publish("s", data, timeout=1, headers={"Nats-Msg-Id": data.decode()})
            except nats.errors.Error:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("settings", "given"),
    [({"users": {"ann": "pw"}}, {"user": "ann", "password": "pw"}), ({"token": "secret"}, {"token": "secret"})],
)
async def test_who_is_let_in(tmp_path, settings, given):
    """With credentials a client is let in, without them it is not."""
    with NatsServer(tmp_path, **settings) as server:
        await (await connect(server.url, **given)).close()
        with pytest.raises(nats.errors.Error, match="Authorization Violation"):
            await connect(server.url)


async def test_tls(tmp_path):
    """Only a client that trusts the server, and whom the server knows, is let in."""
    authority = trustme.CA()
    issued, own = authority.issue_cert("127.0.0.1"), authority.issue_cert("client@example.com")
    files = Certificates(tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(files.certificate)
    issued.private_key_pem.write_to_path(files.key)
    authority.cert_pem.write_to_path(files.clients)
    known, unknown = ssl.create_default_context(), ssl.create_default_context()
    authority.configure_trust(known)
    own.configure_cert(known)
    with NatsServer(tmp_path, tls=files) as server:
        await (await connect(server.url, tls=known)).close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(server.url, tls=unknown)


async def test_a_cluster_survives_its_leader(tmp_path):
    """What was acknowledged by three servers is there after the one that led is killed, and a new one leads."""
    with NatsCluster(tmp_path) as cluster:
        client = await nats.connect(cluster.urls, max_reconnect_attempts=-1, reconnect_time_wait=0.1)
        stream = client.jetstream()
        await stream.add_stream(name="S", subjects=["s"], num_replicas=3, storage=StorageType.FILE)
        await published(stream, b"before")
        led = cluster.leader_of("S")
        cluster.kill_leader_of("S")
        await until(lambda: cluster.leader_of("S") not in (None, led))
        await published(stream, b"after")
        assert [(await stream.get_msg("S", number)).data for number in (1, 2)] == [b"before", b"after"]
        cluster.start()
        await client.close()
