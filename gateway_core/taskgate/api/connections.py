"""Connections to the control API whose request is not whole: bounded in number and in patience, so that nobody, with a
key or without, can keep others out by opening connections and saying little."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

HEADERS_WITHIN = 10.0
"""Seconds from a request's first byte, or from connecting, to the end of its headers."""
BODY_WITHIN = 10.0
"""Seconds from the end of a request's headers to the end of its body."""
MOST_WAITING = 256
"""Connections whose request is not whole; one more ends the one that has waited longest."""
MOST_HEADER_BYTES = 64 * 1024


class Owed(Enum):
    """What the client has yet to say."""

    HEADERS = "headers"
    BODY = "body"
    NOTHING = "nothing"  # its request is whole: an answer takes as long as it takes


class BoundedProtocol(H11Protocol):
    """uvicorn's own protocol (h11, whose headers are bounded) and these bounds. One server's connections share a
    subclass of it: see `bounded`."""

    waiting: ClassVar[dict[BoundedProtocol, None]]  # the longest first
    _owed: Owed = Owed.NOTHING
    _of: RequestResponseCycle | None = None  # the request whose body it is
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._reckon()
        self._within(HEADERS_WITHIN)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._reckon()
        if self._owed is Owed.HEADERS and self._deadline is None:
            self._within(HEADERS_WITHIN)

    def on_response_complete(self) -> None:
        super().on_response_complete()  # which also goes on to a request that was sent ahead
        self._reckon()  # how long it may say nothing at all is uvicorn's business

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def _reckon(self) -> None:
        """What is owed now. Where that is as before, the deadline and the place in the row stay."""
        owed = self._owes()
        if self.transport.is_closing() or (owed, self.cycle) == (self._owed, self._of):
            return
        self._owed, self._of = owed, self.cycle
        self._wait_no_more()
        if owed is not Owed.NOTHING:
            self._wait()
        if owed is Owed.BODY:
            self._within(BODY_WITHIN)

    def _owes(self) -> Owed:
        if self.conn.their_state is h11.SEND_BODY:  # by length or in chunks, answered already or not
            return Owed.BODY
        if self.cycle is not None and not self.cycle.response_complete:
            return Owed.NOTHING
        return Owed.HEADERS

    def _held_up_by_us(self) -> bool:
        """The client can send no more of its body until the application takes what is there, or says 100 Continue."""
        if self.cycle is None or self.cycle.response_complete:
            return False
        return self.flow.read_paused or self.conn.they_are_waiting_for_100_continue

    def _wait(self) -> None:
        self.waiting[self] = None
        if len(self.waiting) > MOST_WAITING:
            # Whom we hold up stays in the row, as nothing tells when that ends, but is neither counted nor ended.
            to_blame = [each for each in self.waiting if not each._held_up_by_us()]
            for each in to_blame[:-MOST_WAITING]:
                each._give_up()

    def _wait_no_more(self) -> None:
        self.waiting.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _within(self, seconds: float) -> None:
        self._deadline = self.loop.call_later(seconds, self._too_late, seconds)

    def _too_late(self, seconds: float) -> None:
        if self._held_up_by_us():
            self._within(seconds)  # not the client's fault: once more
        else:
            self._give_up()

    def _give_up(self) -> None:
        self._wait_no_more()
        self.transport.abort()


def bounded() -> type[BoundedProtocol]:
    """For one server."""
    return type("BoundedProtocol", (BoundedProtocol,), {"waiting": {}})
