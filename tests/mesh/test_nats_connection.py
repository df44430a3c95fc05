"""Connections to NATS: who is let in, what is said where nobody is, and that they come back."""

from __future__ import annotations

import asyncio
import sys
import time

import nkeys
import pytest
import structlog
import trustme
from peers.cut import Cut
from peers.nats_server import Certificates, NatsServer
from peers.processes import free_port
from pydantic import ValidationError
from service import until

from dagflow.errors import PluginError
from dagflow.mesh.nats import connection as module
from dagflow.mesh.nats.connection import Connection
from dagflow.mesh.nats.options import NatsOptions
from dagflow.testing.alone import SILENT, read_options

pytestmark = pytest.mark.anyio


def connection(server, log=SILENT, folder=None, **more):
    """A connection with options as they stand in a file."""

    class Plugin:
        """Has options."""

        Options = NatsOptions

    url = server if isinstance(server, str) else server.url
    given = {"servers": [url], "connect_timeout": "2s", **more}
    return Connection(read_options(Plugin, given, folder), "test", log)


async def try_it(server, **options):
    """Connect, ask for an answer, and close; twice is fine."""
    made = connection(server, **options)
    await made.open()
    await made.client.flush(timeout=5)
    await made.close()
    await made.close()


def nkey_seed():
    """A seed of a user's NKey, and its public key."""
    import base64
    import secrets

    raw = bytes([(18 << 3) | (20 << 3) >> 5, ((20 << 3) & 31) << 3]) + secrets.token_bytes(32)
    checksum = nkeys.crc16(bytearray(raw)).to_bytes(2, "little")
    seed = base64.b32encode(raw + checksum).rstrip(b"=")
    return seed.decode(), nkeys.from_seed(bytearray(seed)).public_key.decode()


async def test_by_password_and_by_token(tmp_path):
    """With what the server knows one is let in, without it the start fails at once, and says why."""
    with NatsServer(tmp_path / "a", users={"ann": "pw"}) as server:
        await try_it(server, user="ann", password="pw")
        for wrong in ({"user": "ann", "password": "x"}, {}):
            began = time.monotonic()
            with pytest.raises(PluginError, match=rf"cannot connect to `{server.url}`: Authorization Violation"):
                await connection(server, connect_timeout="30s", **wrong).open()
            assert time.monotonic() - began < 10
    with NatsServer(tmp_path / "b", token="secret") as server:
        await try_it(server, token="secret")


async def test_by_nkey(tmp_path):
    """The seed stays here; what is no seed is refused before anything is sent."""
    seed, public = nkey_seed()
    with NatsServer(tmp_path, settings={"authorization": {"users": [{"nkey": public}]}}) as server:
        await try_it(server, nkey=seed)
        with pytest.raises(PluginError, match="Authorization Violation"):
            await connection(server, nkey=nkey_seed()[0]).open()
        with pytest.raises(PluginError, match="`nkey` is no seed of an NKey") as caught:
            await connection(server, nkey="hunter2").open()
        assert "hunter2" not in str(caught.value)


async def test_tls(tmp_path):
    """Both sides check certificates."""
    authority = trustme.CA()
    issued, own = authority.issue_cert("127.0.0.1"), authority.issue_cert("client@example.com")
    files = Certificates(tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(files.certificate)
    issued.private_key_pem.write_to_path(files.key)
    authority.cert_pem.write_to_path(files.clients)
    own.cert_chain_pems[0].write_to_path(tmp_path / "own.pem")
    own.private_key_pem.write_to_path(tmp_path / "own.key")
    known = {"tls": True, "ca_file": "ca.pem", "cert_file": "own.pem", "key_file": "own.key", "folder": tmp_path}
    with NatsServer(tmp_path, tls=files) as server:
        await try_it(server, **known)
        with pytest.raises(PluginError, match="certificate"):
            await connection(server, tls=True).open()
        with pytest.raises(PluginError, match="cannot connect"):
            await connection(server, **{**known, "server_name": "other.example.com"}).open()
        with pytest.raises(PluginError, match="the files of `tls` cannot be used: No such file"):
            await connection(server, **{**known, "ca_file": "none.pem"}).open()


async def test_nobody_is_there():
    """The start fails after `connect_timeout`, with the address and the reason."""
    url = f"nats://127.0.0.1:{free_port()}"
    began = time.monotonic()
    with pytest.raises(PluginError, match=rf"cannot connect to `{url}`: Connection refused"):
        await connection(url, connect_timeout="300ms").open()
    assert 0.2 < time.monotonic() - began < 5


async def test_somebody_says_nothing():
    """A server that accepts and is silent is none."""
    with Cut() as cut:
        cut.stall()
        with pytest.raises(PluginError, match=r"cannot connect to|no server answers at"):
            await connection(f"nats://127.0.0.1:{cut.port}", connect_timeout="300ms").open()


async def test_it_comes_back(tmp_path):
    """After the server was killed and started again; a loss is logged once, and a return too."""
    with structlog.testing.capture_logs() as logs, NatsServer(tmp_path) as server:
        made = connection(server, structlog.get_logger())
        told = []
        made.on_reconnected.append(lambda: told.append(1))
        await made.open()
        await asyncio.to_thread(server.restart)
        await until(lambda: told)
        await made.client.flush(timeout=5)
        await made.close()
    said = [entry["event"] for entry in logs if entry["log_level"] != "debug"]
    assert said == ["connection lost", "connected again"]
    structlog.reset_defaults()


async def test_close_is_quick_while_nobody_is_there(tmp_path):
    """It does not wait for the server."""
    with NatsServer(tmp_path) as server:
        made = connection(server)
        await made.open()
        server.kill()
        await until(lambda: not made.client.is_connected)
        began = time.monotonic()
        await made.close()
        assert time.monotonic() - began < 1


async def test_without_the_library(monkeypatch):
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "nats", None)
    with pytest.raises(PluginError, match=r"needs nats-py; install it with `pip install 'dagflow-engine\[nats\]'`"):
        await connection("nats://127.0.0.1:4222").open()


async def test_without_keys(monkeypatch, tmp_path):
    """Credentials need another package."""
    monkeypatch.setitem(sys.modules, "nkeys", None)
    (tmp_path / "creds").write_text("x")
    with pytest.raises(PluginError, match="need the package nkeys"):
        await connection("nats://127.0.0.1:4222", credentials="creds", folder=tmp_path).open()
    with pytest.raises(PluginError, match="there is no such file"):
        await connection("nats://127.0.0.1:4222", credentials="none", folder=tmp_path).open()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"servers": []}, "at least 1 item"),
        ({"servers": ["http://a"]}, "`http://a` is no address"),
        ({"servers": ["nats://ann:pw@a:1"]}, "credentials in a URL would be shown"),
        ({"user": "ann"}, "`user` and `password` go together"),
        ({"cert_file": "a", "tls": True}, "`cert_file` and `key_file` go together"),
        ({"token": "t", "nkey": "n"}, "`token` and `nkey` exclude each other"),
        ({"ca_file": "a"}, "`ca_file` has no effect without `tls = true`"),
    ],
)
def test_options_that_make_no_sense(options, reason):
    """They are refused, and never repeat a secret."""
    with pytest.raises(ValidationError, match=reason):
        NatsOptions.model_validate(options)


@pytest.mark.parametrize("server", ["nats://a:4222", "tls://a.b:1", "a", "a:1", "[::1]:4222", "nats://127.0.0.1"])
def test_addresses(server):
    """As people write them."""
    assert NatsOptions(servers=[server]).servers == [server]


def test_what_errors_say():
    """Without the library's name, and never nothing."""
    assert module.said(Exception("nats: 'Authorization Violation'")) == "Authorization Violation"
    assert module.said(ConnectionRefusedError(111, "Connect call failed")) == "Connection refused"
    assert module.said(TimeoutError()) == "TimeoutError"
