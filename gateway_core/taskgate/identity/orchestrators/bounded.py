"""One HTTP exchange whose answer is read only as far as its bound: a broken server fills no memory."""

from __future__ import annotations

from typing import Any

import httpx


class TooLarge(httpx.HTTPError):
    """The answer is longer than anybody here has a use for."""


async def bounded(client: httpx.AsyncClient, method: str, url: str, most: int, **content: Any) -> httpx.Response:
    """The answer, read whole, of at most `most` bytes once decoded. Raises httpx.HTTPError."""
    async with client.stream(method, url, **content) as answer:
        body = bytearray()
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > most:
                raise TooLarge(f"more than {most} bytes")
    return httpx.Response(answer.status_code, content=bytes(body), request=answer.request)
