"""Connections to the control API that ask nothing: bounded in number and in patience, so that nobody without a key can
keep others out by opening connections and saying little."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS_WITHIN = 10.0
"""Seconds from a request's first byte, or from connecting, to the end of its headers."""
MOST_WAITING = 256
"""Connections that are in the middle of no request; one more ends the one that has waited longest."""
MOST_HEADER_BYTES = 64 * 1024


class BoundedProtocol(H11Protocol):
    """uvicorn's own protocol (h11, whose headers are bounded) and these two bounds. One server's connections share a
    subclass of it: see `bounded`."""

    waiting: ClassVar[dict[BoundedProtocol, None]]  # the longest first
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()
        self._headers_within()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait_no_more()
        elif self in self.waiting:
            self._headers_within()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._wait()  # how long it may say nothing at all is uvicorn's business

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self.waiting.pop(self, None)
        self.waiting[self] = None
        while len(self.waiting) > MOST_WAITING:
            next(iter(self.waiting))._give_up()

    def _wait_no_more(self) -> None:
        self.waiting.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _headers_within(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEADERS_WITHIN, self._give_up)

    def _give_up(self) -> None:
        self._wait_no_more()
        self.transport.abort()


def bounded() -> type[BoundedProtocol]:
    """For one server."""
    return type("BoundedProtocol", (BoundedProtocol,), {"waiting": {}})
