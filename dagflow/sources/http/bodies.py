"""Bodies: the bytes of a request, within their limits of size and time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import HttpVersion11
from aiohttp.web import HTTPRequestEntityTooLarge, RequestPayloadError

from dagflow.sources.http.asked import wrong
from dagflow.sources.http.refusals import Refusal

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest

_JSON: Final = "application/json"
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


async def read_body(request: BaseRequest, most: int, timeout_s: float) -> bytes:
    """Read a body of JSON.

    Raises:
        Refusal: it is of another type, too large, too slow, or broken.
    """
    if request.headers.get("Content-Type") != _JSON and request.content_type != _JSON:
        # Anything else could be sent by a page in a browser without asking first.
        raise Refusal(415, "unsupported_media_type", "the body should have `Content-Type: application/json`")
    length = request.content_length
    if length is not None and length > most:
        raise _too_large(most)
    try:
        if request.content.is_eof():  # it came with the headers
            body = request.content.read_nowait()
        else:
            async with asyncio.timeout(timeout_s):
                await _invite(request)
                body = await request.read()
    except HTTPRequestEntityTooLarge:
        raise _too_large(most) from None
    except TimeoutError:
        text = f"the body did not arrive within {timeout_s:g} s"
        raise Refusal(408, "timeout", text, headers={"Connection": "close"}) from None
    except RequestPayloadError as error:
        raise wrong(f"the body cannot be read: {error}", code="invalid_body") from None
    if len(body) > most:
        raise _too_large(most)
    return body


async def _invite(request: BaseRequest) -> None:
    """Say that the body may come, to a client that waits for the word, as curl does before a large one."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11:
        await request.writer.write(_CONTINUE)
        request.writer.output_size = 0  # it is no part of the answer


def _too_large(most: int) -> Refusal:
    text = f"the body has more than {most} bytes"
    # What is left of it is not read.
    return Refusal(413, "request_too_large", text, should_retry=False, headers={"Connection": "close"})
