"""Who is told that approvals have ended, whichever process ended them: ids and states, nothing of what is asked.

Every process hears of every end by a signal with a number, so a reader that comes back says the last number it saw and
misses nothing that is still kept. What a reader leaves untaken is bounded: who is too slow is cut off, and comes back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from taskgate.domain import ApprovalState
from taskgate.errors import GatewayFault
from taskgate.store.signals import Signal, SignalKind, Signals

_PAGE = 500


class TooManyReaders(GatewayFault):
    """This process has no place for another reader now."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An approval is no longer pending, or a grant is void. `sequence` grows with time."""

    sequence: int
    approval_id: str
    state: ApprovalState


class Reader:
    """One who is told. `over` once nothing more will come: too slow, no longer entitled, or the gateway stops."""

    def __init__(self, key_id: str, start: int, room: int) -> None:
        self.key_id = key_id
        self.start = start
        self.over = False
        self._room = room
        self._waiting: deque[Ended] = deque()
        self._news = asyncio.Event()

    async def take(self, within: float) -> list[Ended]:
        """What has come since the last time; empty after `within` seconds, or when it is over."""
        if not self._waiting and not self.over:
            self._news.clear()
            try:
                async with asyncio.timeout(within):
                    await self._news.wait()
            except TimeoutError:
                return []
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    def tell(self, ended: Ended) -> None:
        if len(self._waiting) >= self._room:
            self.end()
        elif not self.over:
            self._waiting.append(ended)
            self._news.set()

    def end(self) -> None:
        """What has not been taken is dropped: it is found again by its number."""
        self.over = True
        self._waiting.clear()
        self._news.set()


class DecisionFeed:
    """One a process. `places`: readers at one time; `room`: what each may leave untaken."""

    def __init__(self, signals: Signals, *, places: int = 64, room: int = 1000) -> None:
        self._signals = signals
        self._places = places
        self._room = room
        self._readers: set[Reader] = set()
        self._stopped = False
        signals.subscribe(SignalKind.APPROVAL_DECIDED, self._heard)
        signals.subscribe(SignalKind.API_KEY_REVOKED, self._revoked)

    def enter(self, key_id: str) -> Reader:
        """Takes a place, until `leave`. Told is everything above `reader.start`. Raises TooManyReaders."""
        if self._stopped or len(self._readers) >= self._places:
            raise TooManyReaders(f"{self._places} connections watch approvals here already, or the gateway is stopping")
        reader = Reader(key_id, self._signals.seen, self._room)
        self._readers.add(reader)
        return reader

    def leave(self, reader: Reader) -> None:
        """Frees the place. Twice is once."""
        reader.end()
        self._readers.discard(reader)

    async def knows_all_since(self, sequence: int) -> bool:
        """Whether `missed` finds everything that ended after this number. Raises StoreFault."""
        return await self._signals.reaches_back_to(sequence)

    async def missed(self, since: int) -> AsyncIterator[list[Ended]]:
        """What ended after `since`, as far as it is kept, in pages. Some of it a reader may be told again."""
        while page := await self._signals.kept(SignalKind.APPROVAL_DECIDED, since, _PAGE):
            yield [_ended(signal) for signal in page]
            since = page[-1].sequence

    def stop(self) -> None:
        """End every reader, and let no other in."""
        self._stopped = True
        for reader in self._readers:
            reader.end()

    def _heard(self, signal: Signal) -> None:
        ended = _ended(signal)
        for reader in self._readers:
            reader.tell(ended)

    def _revoked(self, signal: Signal) -> None:
        for reader in self._readers:
            if reader.key_id == signal.subject:
                reader.end()


def _ended(signal: Signal) -> Ended:
    return Ended(signal.sequence, signal.subject, ApprovalState(signal.payload["state"]))
