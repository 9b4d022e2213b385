"""Server-sent events (the HTML standard, section 9.2): an answer that goes on until its client or its source ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

SLOWEST = 10.0
"""Seconds a client may take to take one piece, before its connection is given up."""


def event(data: str, *, kind: str | None = None, sequence: int | None = None) -> bytes:
    """One event. `data` has one line."""
    lines = [f"event: {kind}"] if kind else []
    lines += [f"id: {sequence}"] if sequence is not None else []
    return "\n".join([*lines, f"data: {data}", "", ""]).encode()


HEARTBEAT = b": here\n\n"
"""A comment: tells the client that the connection lives, and finds out for us that it does not."""


class EventStream(Response):
    """Sends what `pieces` gives, to its end or until the client goes or takes nothing; then calls `done`."""

    media_type = "text/event-stream"

    def __init__(self, pieces: AsyncIterator[bytes], done: Callable[[], None], status_code: int = 200) -> None:
        super().__init__(
            status_code=status_code, headers={"x-accel-buffering": "no"}
        )  # a proxy in front must not collect it
        del self.headers["content-length"]
        self._pieces = pieces
        self._done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._until_one_ends(receive, send)
        finally:
            self._done()

    async def _until_one_ends(self, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
        if sending.done() and not sending.cancelled() and (fault := sending.exception()):
            raise fault

    async def _send(self, send: Send) -> None:
        try:
            async for piece in self._pieces:
                async with asyncio.timeout(SLOWEST):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            return  # half an answer: the server closes the connection


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
