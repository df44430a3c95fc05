"""Who may use the service, as whom, how much; for which host, from which page; how large and slow requests may be."""

from __future__ import annotations

import asyncio
import hashlib
import ssl

import aiohttp
import pytest
import structlog
import trustme
from cryptography import x509
from service import CHAT, PLAIN, served, until

from dagflow.compile import compile_text
from dagflow.engine.succession import Succession
from dagflow.errors import ConfigError, OpenFailed

pytestmark = pytest.mark.anyio
RED, BLUE = "red-secret-0123456789", "blue-secret-0123456789"
AUTH = f"""
[auth]
tokens = [
  {{ token = "{RED}", tenant = "red", max_priority = 5, requests = "3/min" }},
  {{ sha256 = "{hashlib.sha256(BLUE.encode()).hexdigest()}", tenant = "blue", tokens = "20 tokens/min" }},
]
"""


def by(token, **more):
    """The headers of a request with a token."""
    return {"Authorization": f"Bearer {token}", **more}


def source(**keys):
    """The plain service with more keys of its source."""
    more = "\n".join(f"{name} = {value}" for name, value in keys.items())
    return PLAIN.replace('listen = "127.0.0.1:0"', f'listen = "127.0.0.1:0"\n{more}')


def codes(text):
    """The codes of what is wrong with a file."""
    with pytest.raises(ConfigError) as caught:
        compile_text(text)
    return [d.code for d in caught.value.diagnostics if d.severity == "error"]


@pytest.mark.parametrize("headers", [{}, by("wrong"), by(""), {"Authorization": RED}, by("\u00fcber")])
async def test_without_a_valid_token(headers):
    """Nothing is answered, on no endpoint."""
    async with served(PLAIN + AUTH) as service:
        asked = [await service.chat(headers=headers)]
        for path, method in (("/v1/models", "GET"), ("/v1/records/x", "GET"), ("/v1/records/x", "DELETE")):
            asked.append(await service.ask(path, method=method, headers=headers))
    assert [reply.error for reply in asked] == [(401, "invalid_api_key")] * 4
    assert asked[0].headers["WWW-Authenticate"] == "Bearer"
    assert service.report["accepted"] == 0


async def test_the_token_is_looked_at_before_the_body():
    """Who may not ask is not read."""
    async with served(PLAIN + AUTH) as service:
        reply = await service.ask("/v1/chat/completions", b"no json")
    assert reply.status == 401


async def test_requests_of_a_token():
    """So many in any minute; each answer says what is left."""
    async with served(PLAIN + AUTH) as service:
        replies = [await service.chat(headers=by(RED)) for _ in range(4)]
        other = await service.chat(headers=by(BLUE))
    assert [reply.status for reply in replies] == [200, 200, 200, 429]
    assert [reply.headers["x-ratelimit-remaining-requests"] for reply in replies] == ["2", "1", "0", "0"]
    assert replies[0].headers["x-ratelimit-limit-requests"] == "3"
    assert replies[3].error == (429, "rate_limit_exceeded")
    assert 50 <= int(replies[3].headers["Retry-After"]) <= 61
    assert other.status == 200
    assert service.report["accepted"] == 4


async def test_tokens_of_a_token():
    """Guessed first, then counted: four calls of six tokens are more than twenty."""
    async with served(PLAIN + AUTH) as service:
        replies = [await service.chat(headers=by(BLUE), max_tokens=4) for _ in range(4)]
        late = await service.chat(headers=by(BLUE), max_tokens=4)
    assert [reply.status for reply in replies] == [200, 200, 200, 429] or late.status == 429
    assert [reply.headers["x-ratelimit-limit-tokens"] for reply in replies] == ["20"] * 4
    assert late.error == (429, "rate_limit_exceeded")


async def test_what_a_token_is_worth():
    """The tenant stands in `meta`, the priority is at most the token's, sessions are the tenant's own."""
    text = PLAIN.replace('type = "inference"\nworker = "main"', 'type = "set"')
    text = text.replace('type = "set"', 'type = "set"\nfields = { text = "[meta.tenant, priority, session] | tojson" }')
    text = text.partition("[workers.main]")[0] + AUTH
    async with served(text) as service:
        told = [
            (await service.chat(headers=by(RED, **{"x-priority": "9", "x-session-id": "s"}))).text,
            (await service.chat(headers=by(BLUE), priority=-3, user="s")).text,
        ]
    assert told == ['["red",5,"red/s"]', '["blue",-3,"blue/s"]']


async def test_nobody_says_whose_a_request_is_but_its_token():
    """Also where no token is asked for."""
    text = PLAIN.replace(
        'type = "inference"\nworker = "main"', 'type = "set"\nfields = { text = "meta.tenant | string" }'
    )
    async with served(text.partition("[workers.main]")[0]) as service:
        reply = await service.ask("/v1/records", {"input": "a", "meta": {"tenant": "red", "kept": 1}})
    assert reply.json["record"]["text"] == ""


@pytest.mark.parametrize("body", [{"messages": "abc"}, {"messages": [1]}, {"messages": 5}, {"parameters": []}])
async def test_odd_records_within_limits(body):
    """Limits guess from whatever the caller wrote; what is wrong with it is told as it is without them."""
    async with served(PLAIN + AUTH) as service:
        limited = await service.ask("/v1/records", {"input": "a", **body}, headers=by(BLUE))
    async with served() as service:
        unlimited = await service.ask("/v1/records", {"input": "a", **body})
    assert limited.error == unlimited.error == (422, "invalid-field")


@pytest.mark.parametrize("tokens", [-(10**9), 10**9, "many"])
async def test_a_usage_that_the_caller_wrote(tokens):
    """Neither gives tokens back nor takes any: the guess stays."""
    text = PLAIN.replace('type = "inference"\nworker = "main"', 'type = "set"\nfields = { text = "id" }')
    body = {"input": "a", "parameters": {"max_tokens": 4}, "embeddings": {"usage": {"input_tokens": tokens}}}
    async with served(text.partition("[workers.main]")[0] + AUTH) as service:
        replies = [await service.ask("/v1/records", body, headers=by(BLUE)) for _ in range(2)]
    assert [reply.headers["x-ratelimit-remaining-tokens"] for reply in replies] == ["15", "10"]


async def test_records_and_keys_of_another_tenant():
    """Cannot be found, cancelled or got again."""
    async with served(PLAIN + AUTH.replace("20 tokens", "9k tokens")) as service:
        later = {"Prefer": "respond-async"}
        assert (await service.ask("/v1/records", {"id": "r", **CHAT}, headers=by(RED, **later))).status == 202
        assert (await service.ask("/v1/records/r", method="GET", headers=by(RED))).status == 200
        for method in ("GET", "DELETE"):
            other = await service.ask("/v1/records/r", method=method, headers=by(BLUE))
            assert other.error == (404, "record_not_found")
        assert (await service.ask("/v1/records", {"id": "r", **CHAT}, headers=by(BLUE, **later))).status == 202
        key = {"Idempotency-Key": "k"}
        mine = await service.chat(headers=by(RED, **key))
        theirs = await service.chat(headers=by(BLUE, **key))
    assert mine.json["id"] != theirs.json["id"]


async def test_no_token_in_a_log():
    """Nor a prompt."""
    with structlog.testing.capture_logs() as logs:
        async with served(
            PLAIN.replace('"echo"', '"echo"\nerror_rate = 1.0') + AUTH, log=structlog.get_logger()
        ) as service:
            await service.chat(headers=by(RED))
            await service.chat(headers=by("wrong-secret-0123456"))
    structlog.reset_defaults()
    assert logs
    assert not any(secret in str(logs) for secret in (RED, BLUE, "wrong-secret", "one two"))


async def test_hashes_in_a_file(tmp_path):
    """Are added to those of the table."""
    path = tmp_path / "tokens.toml"
    path.write_text(f'[[tokens]]\ntenant = "green"\nsha256 = "{hashlib.sha256(RED.encode()).hexdigest()}"\n')
    async with served(PLAIN + f'[auth]\nfile = "{path}"') as service:
        assert (await service.chat(headers=by(RED))).status == 200
        assert (await service.chat(headers=by(BLUE))).status == 401


@pytest.mark.parametrize(
    ("table", "code"),
    [
        ("[auth]", "invalid-option"),
        ('[auth]\ntokens = [{ tenant = "a" }]', "invalid-option"),
        ('[auth]\ntokens = [{ tenant = "a", token = "short" }]', "invalid-option"),
        (f'[auth]\ntokens = [{{ tenant = "a b", token = "{RED}" }}]', "invalid-option"),
        (f'[auth]\ntokens = [{{ tenant = "a", token = "{RED}", sha256 = "{"0" * 64}" }}]', "invalid-option"),
        ('[auth]\ntokens = [{ tenant = "a", sha256 = "xyz" }]', "invalid-option"),
        ('[auth]\nfile = "nowhere.toml"', "invalid-option"),
        (f'[auth]\ntokens = [{{ token = "{RED}" }}]', "missing-option"),
    ],
)
def test_a_wrong_auth(table, code):
    """Is told before anything starts."""
    assert codes(PLAIN + table) == [code]


def test_doors_that_are_open():
    """Another address than loopback needs `[auth]`, or the word that it is meant."""
    text = PLAIN.replace("127.0.0.1:0", "0.0.0.0:0")
    assert codes(text) == ["open-door"]
    assert compile_text(text + AUTH)
    assert compile_text(text.replace('type = "http"', 'type = "http"\ninsecure = true'))


def test_auth_that_nobody_asks():
    """Is a warning."""
    text = PLAIN.replace('type = "http"\nlisten = "127.0.0.1:0"', 'type = "jsonl"\npath = "-"\nfields = ["messages"]')
    assert "idle-auth" in [d.code for d in compile_text(text + AUTH).warnings]


def test_callers_without_an_answer():
    """Each way needs a sink that answers, unless another branch surely goes to one."""
    sink = '[sinks.away]\ntype = "null"\n'
    also = PLAIN.replace('to = "answer" }', 'to = "answer" }, { from = "ask", to = "away" }')
    assert compile_text(also + sink)
    only = PLAIN.replace('to = "answer" }', 'to = "away" }').replace('[sinks.answer]\ntype = "reply"', "")
    assert codes(only + sink) == ["unanswered"]
    either = PLAIN.replace(
        '{ from = "ask", to = "answer" }',
        '{ from = "ask", to = "answer", when = "priority" }, { from = "ask", to = "away", when = "not priority" }',
    )
    assert codes(either + sink) == ["unanswered"]
    failed = PLAIN.replace('to = "answer" }', 'to = "answer" }, { from = "ask.error", to = "away" }')
    assert codes(failed.replace('worker = "main"', 'worker = "main"\non_error = "port"') + sink) == ["unanswered"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:5", 200),
        ("[::1]:80", 200),
        ("evil.example.com", 421),
        ("127.0.0.1.evil.com:80", 421),
    ],
)
async def test_for_which_host(host, status):
    """A name that was bent to loopback is refused."""
    async with served() as service:
        reply = await service.ask("/v1/models", method="GET", headers={"Host": host})
    assert reply.status == status


async def test_hosts_of_the_file():
    """Stand beside those of this machine."""
    async with served(source(hosts='["api.example.com"]')) as service:
        found = [
            (await service.ask("/v1/models", method="GET", headers={"Host": host})).status
            for host in ("API.example.com:443", "api.example.com", "localhost", "example.com")
        ]
    assert found == [200, 200, 200, 421]


async def test_pages_in_browsers():
    """Only those of the file may use the service, after asking first."""
    page, other = "https://app.example.com", "https://evil.example.com"
    async with served(source(cors_origins=f'["{page}"]')) as service:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        preflight = await service.ask("/v1/chat/completions", method="OPTIONS", headers={"Origin": page, **asked})
        mine = await service.chat(headers={"Origin": page})
        theirs = await service.chat(headers={"Origin": other})
        refused = await service.ask("/v1/chat/completions", method="OPTIONS", headers={"Origin": other, **asked})
        plain = await service.ask("/v1/chat/completions", method="OPTIONS")
    assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (204, page)
    assert preflight.headers["Access-Control-Allow-Headers"] == "authorization"
    assert (mine.status, mine.headers["Access-Control-Allow-Origin"], mine.headers["Vary"]) == (200, page, "Origin")
    assert theirs.error == refused.error == (403, "origin_not_allowed")
    assert "Access-Control-Allow-Origin" not in theirs.headers
    assert plain.error == (405, "method_not_allowed")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_a_body_that_a_page_could_send_without_asking(kind):
    """Is no JSON."""
    async with served() as service:
        headers = {"Content-Type": kind} if kind else {}
        reply = await service.ask("/v1/chat/completions", b"{}", headers=headers)
    assert reply.error == (415, "unsupported_media_type")


@pytest.mark.parametrize("body", [b"", b"no", b"[]", b'"a"', b"[" * 100_000, b"\xff", b'{"a": NaN}'])
async def test_a_body_that_is_no_object(body):
    """Is told with the place."""
    async with served() as service:
        reply = await service.ask("/v1/chat/completions", body, headers={"Content-Type": "application/json"})
    assert reply.error == (400, "invalid_json")


async def test_a_large_body():
    """Is refused by its length, or as soon as it is longer; the service goes on."""

    async def parts():
        for _ in range(100):
            yield b"x" * 1000

    async with served(source(max_body='"10KB"')) as service:
        kind = {"Content-Type": "application/json"}
        told = await service.ask("/v1/chat/completions", b"x" * 20_000, headers=kind)
        async with service.session.post(f"{service.url}/v1/chat/completions", data=parts(), headers=kind) as response:
            assert response.status == 413
        assert (await service.chat()).status == 200
    assert told.error == (413, "request_too_large")


async def raw(service, *pieces, pause_s=0.0):
    """Send bytes and give all that comes back until the end."""
    host, port = str(service.source.address).split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(pause_s)
    answer = await reader.read()
    writer.close()
    return answer


async def test_slow_requests():
    """A body that does not come is a 408; headers that do not come end the connection."""
    async with served(source(body_timeout='"100ms"', idle_timeout='"200ms"')) as service:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        slow = await raw(service, head + b'Content-Length: 50\r\n\r\n{"a"')
        loris = await raw(service, b"POST / HTTP/1.1\r\n", b"Host: a\r\n", b"X: y\r\n", pause_s=0.1)
        silent = await raw(service)
        assert (await service.chat()).status == 200
    assert slow.startswith(b"HTTP/1.1 408 ")
    assert loris == silent == b""


@pytest.mark.parametrize(("version", "invited"), [("1.1", True), ("1.0", False)])
async def test_a_client_that_asks_before_it_sends_the_body(version, invited):
    """Gets the word at once; one that may not send it gets the refusal instead."""
    head = (
        f"POST /v1/chat/completions HTTP/{version}\r\nHost: localhost\r\nExpect: 100-Continue\r\nConnection: close\r\n"
    )
    body = b'{"messages": [{"role": "user", "content": "a"}]}'
    lengths = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    async with served() as service:
        host, port = str(service.source.address).split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write((head + lengths).encode())
        if invited:
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await reader.read()).startswith(f"HTTP/{version} 200 ".encode())
        writer.close()
        refused = await raw(service, (head + lengths.replace("json", "xml")).encode())
    assert refused.startswith(f"HTTP/{version} 415 ".encode())


async def test_too_many_headers_and_too_long_ones():
    """Are no request."""
    async with served() as service:
        many = b"".join(b"X-%d: y\r\n" % number for number in range(1000))
        first = await raw(service, b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n" + many + b"\r\n")
        second = await raw(service, b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 20_000 + b"\r\n\r\n")
        assert (await service.chat()).status == 200
    for answer in (first, second):
        assert answer.split(b" ")[1] == b"400"
        assert b'"code":"invalid_request"' in answer
        assert b"aiohttp" not in answer


async def test_connections():
    """Beyond the bound they get a 503 at once."""
    async with served(source(max_connections=2)) as service:
        host, port = str(service.source.address).split(":")
        opened = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
        await until(lambda: len(service.source._listener._server.connections) == 2)
        refused = await raw(service)
        for _, writer in opened:
            writer.close()
        await until(lambda: not service.source._listener._server.connections)
        assert (await service.chat()).status == 200
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b'"connections"' in refused


async def test_over_tls(tmp_path):
    """With the file's certificate, and with one of the client where that is demanded."""
    authority = trustme.CA()
    issued, own = authority.issue_cert("localhost", "127.0.0.1"), authority.issue_cert("client@example.com")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    files = f'cert = "{tmp_path}/cert.pem", key = "{tmp_path}/key.pem", client_ca = "{tmp_path}/ca.pem"'
    known, unknown = ssl.create_default_context(), ssl.create_default_context()
    for context in (known, unknown):
        authority.configure_trust(context)
    own.configure_cert(known)
    connector = aiohttp.TCPConnector(ssl=known)
    async with served(source(tls=f"{{ {files} }}"), session=aiohttp.ClientSession(connector=connector)) as service:
        assert (await service.chat()).status == 200
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=unknown)) as stranger:
            with pytest.raises(aiohttp.ClientError):
                await stranger.get(f"{service.url}/v1/models")


def write_certificate(authority, folder):
    """Write a new certificate and its key; gives its serial number."""
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    return x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes()).serial_number


async def served_certificate(service, trust):
    """Connect, and give the serial number of the certificate that the service shows."""
    _, writer = await asyncio.open_connection(*service.source.address, ssl=trust)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(shown).serial_number


def build_succession(plan, log):
    """A run whose plan can be replaced."""
    return Succession(plan)


async def test_a_certificate_that_is_renewed(tmp_path):
    """Is shown to who connects after the file was read again; one that is bad changes nothing."""
    authority, trust = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(trust)
    first = write_certificate(authority, tmp_path)
    text = source(tls=f'{{ cert = "{tmp_path}/cert.pem", key = "{tmp_path}/key.pem" }}')
    connector = aiohttp.TCPConnector(ssl=trust)
    async with served(text, session=aiohttp.ClientSession(connector=connector), build=build_succession) as service:
        assert await served_certificate(service, trust) == first
        assert (await service.chat()).status == 200
        second = write_certificate(authority, tmp_path)
        assert await served_certificate(service, trust) == first
        await service.engine.replace(compile_text(text))
        assert await served_certificate(service, trust) == second
        assert (await service.chat()).status == 200
        with pytest.raises(OpenFailed, match="cannot be turned on or off"):
            await service.engine.replace(compile_text(source()))
        (tmp_path / "cert.pem").write_text("no certificate")
        with pytest.raises(OpenFailed, match=r"cert\.pem"):
            await service.engine.replace(compile_text(text))
        assert await served_certificate(service, trust) == second


async def test_a_certificate_that_cannot_be_used(tmp_path):
    """Stops the start, with its name."""
    (tmp_path / "cert.pem").write_text("no certificate")
    text = source(tls=f'{{ cert = "{tmp_path}/cert.pem", key = "{tmp_path}/cert.pem" }}')
    with pytest.raises(OpenFailed, match=r"`api` could not be opened.*cert\.pem"):
        async with served(text):
            pass


async def test_a_port_that_is_taken():
    """Stops the start."""
    async with served() as service:
        text = PLAIN.replace("127.0.0.1:0", str(service.source.address))
        with pytest.raises(OpenFailed, match="address already in use"):
            async with served(text):
                pass


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        ("GET", "/", (404, "not_found")),
        ("GET", "/v1/chat/completions", (405, "method_not_allowed")),
        ("POST", "/v1/models", (405, "method_not_allowed")),
        ("PUT", "/v1/records/a", (405, "method_not_allowed")),
        ("GET", "/v1/records/a", (404, "record_not_found")),
        ("GET", "/v1/chat/completions/../models", (404, "not_found")),
    ],
)
async def test_what_is_not_there(method, path, error):
    """Is told in the form of all errors, with the id of the request."""
    async with served() as service:
        reply = await service.ask(path, method=method)
        assert reply.headers["x-request-id"].startswith("req_")
    if path.endswith("models") and method == "GET":
        assert reply.status in (200, 404)
    else:
        assert reply.error == error


@pytest.mark.parametrize(("given", "kept"), [("abc-1", True), ("a b", False), ("x" * 200, False)])
async def test_ids_of_requests(given, kept):
    """A caller's own is kept where it is a plain one."""
    async with served() as service:
        reply = await service.chat(headers={"x-request-id": given})
    assert (reply.headers["x-request-id"] == given) is kept
