"""A model server that costs next to nothing: what a benchmark measures is then the client's work.

    python benchmarks/model_server.py [--delay-ms 0] [--chunks 100] [--gap-ms 0]

Speaks just enough HTTP/1.1 and of OpenAI's dialect: whole answers, and streams whose chunks are written one by one.
Prints its port on a line, and ends when its standard input does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

TEXT = "An answer of about twenty words, as long as one that a person would read without much thought about it."


def whole_answer() -> bytes:
    """The bytes of a whole answer."""
    message = {"role": "assistant", "content": TEXT}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "bench",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 20, "total_tokens": 40},
    }
    text = json.dumps(body).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
    return head.encode() + text


def stream_parts(chunks: int) -> list[bytes]:
    """The bytes of a stream, part by part."""
    common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "bench"}

    def event(value: object) -> bytes:
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        data = f"data: {text}\n\n".encode()
        return f"{len(data):x}\r\n".encode() + data + b"\r\n"

    def chunk(delta: dict[str, str], reason: str | None = None) -> bytes:
        return event({**common, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})

    usage = {"prompt_tokens": 20, "completion_tokens": chunks, "total_tokens": 20 + chunks}
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [
        head + chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": f" word{n}"}) for n in range(chunks)),
        chunk({}, "stop"),
        event({**common, "choices": [], "usage": usage}),
        event("[DONE]") + b"0\r\n\r\n",
    ]


class Server(asyncio.Protocol):
    """One connection: a request after the other."""

    def __init__(self, whole: bytes, parts: list[bytes], delay_s: float, gap_s: float) -> None:
        self.whole, self.parts, self.delay_s, self.gap_s = whole, parts, delay_s, gap_s
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
            if self.delay_s:
                asyncio.get_running_loop().call_later(self.delay_s, self.answer, body)
            else:
                self.answer(body)

    def answer(self, body: bytes) -> None:
        """Answer one request."""
        if b'"stream":true' in body.replace(b" ", b""):
            loop = asyncio.get_running_loop()
            self.transport.write(b"".join(self.parts[:2]))  # the role and the first words
            for number, part in enumerate(self.parts[2:], 1):
                if self.gap_s:
                    loop.call_later(number * self.gap_s, self.transport.write, part)
                else:
                    self.transport.write(part)
        else:
            self.transport.write(self.whole)


async def serve(delay_s: float, chunks: int, gap_s: float) -> None:
    """Serve until standard input ends."""
    whole, parts = whole_answer(), stream_parts(chunks)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Server(whole, parts, delay_s, gap_s), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--chunks", type=int, default=100)
    parser.add_argument("--gap-ms", type=float, default=0.0)
    options = parser.parse_args()
    asyncio.run(serve(options.delay_ms / 1000, options.chunks, options.gap_ms / 1000))


if __name__ == "__main__":
    main()
