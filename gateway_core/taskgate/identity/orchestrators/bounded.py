"""One HTTP exchange whose answer is read only as far as its bounds: a broken or hostile server fills no memory, and
keeps nobody waiting for ever.

Nothing is unpacked. A few KiB unpack to gigabytes, and httpx hands over what a piece unpacks to only once it is there
as a whole: no bound could be kept, and the event loop would stand still meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

_READS = 2


class TooLarge(httpx.HTTPError):
    """The answer is longer than anybody here has a use for."""


async def bounded(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    most: int,
    *,
    headers: Mapping[str, str] | None = None,
    **content: Any,
) -> httpx.Response:
    """The answer, read whole, of at most `most` bytes; one that is packed (Content-Encoding) is refused. All of it,
    from connecting to the last byte, takes twice the client's own read timeout at most: httpx counts that for each
    read, and an answer of a byte a second would never meet it. Raises httpx.HTTPError."""
    headers = {**(headers or {}), "Accept-Encoding": "identity"}
    seconds = client.timeout.read
    try:
        async with asyncio.timeout(None if seconds is None else _READS * seconds):
            return await _read(client, method, url, most, headers=headers, **content)
    except TimeoutError:
        raise httpx.ReadTimeout("the answer did not come to its end in time") from None


async def _read(client: httpx.AsyncClient, method: str, url: str, most: int, **content: Any) -> httpx.Response:
    async with client.stream(method, url, **content) as answer:
        encoding = answer.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ("", "identity"):
            raise httpx.DecodingError("the answer is packed, which was not asked for", request=answer.request)
        body = bytearray()
        async for piece in answer.aiter_bytes():  # as they came: there is no coding left to undo
            body += piece
            if len(body) > most:
                raise TooLarge(f"more than {most} bytes")
    return httpx.Response(answer.status_code, content=bytes(body), request=answer.request)
