"""What is on its way to the target: gathered into batches, recorded before it goes, and answered for in order."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from taskgate.enforcement.contracts import GovernedSession
from taskgate.errors import TaskgateError
from taskgate.protocols.postgres.backend import Report
from taskgate.protocols.postgres.expectations import Expected
from taskgate.protocols.postgres.limits import Limits
from taskgate.protocols.postgres.needs import Blocked, Need
from taskgate.protocols.postgres.refusals import answer_for
from taskgate.protocols.postgres.session_state import Name, SessionState

if TYPE_CHECKING:
    from taskgate.protocols.postgres.known import Flight


class Outgoing:
    """Base of the relay: the batch, the queue of what the target owes, and what the client's next message waits for."""

    def __init__(self, session: GovernedSession, limits: Limits) -> None:
        self.limits = limits
        self.session = session
        self.state = SessionState(limits.statements)
        self.to_server: list[bytes] = []
        self.need: Need | None = None
        self.awaited: Expected | None = None
        self.syncing = False
        self.committing = False
        self.generation = 0  # how many Syncs and Queries have been sent
        self.flight: Flight | None = None
        self._queue: deque[Expected] = deque()
        self._batch: list[Expected] = []
        self._out: list[bytes] = []
        self._begun = False
        self._durable = False
        self._pressing = False
        self._released = False

    def send(self, data: bytes, *entries: Expected) -> None:
        """To the target, with what it will answer."""
        self._out.append(data)
        for entry in entries:
            self._batch.append(entry)
            if entry.marker:
                self.generation += 1

    def change(self, data: bytes, name: Name, entry: Expected) -> None:
        """The same for what changes the meaning of a name."""
        self.state.pending[name] = (entry, self.generation)
        self._out.append(data)
        self._batch.append(entry)

    def certain(self, name: Name) -> None:
        """Raises Blocked while an earlier batch may or may not have changed what the name means."""
        waiting = self.state.pending.get(name)
        if waiting is not None and waiting[1] != self.generation:
            raise self.block_on(waiting[0])

    def press(self) -> None:
        """What is gathered has to reach the target even if the next message has to wait."""
        self._pressing = True

    def begun(self, *, durable: bool) -> None:
        """An action's record has been begun: it is in the journal before the batch is forwarded."""
        self._begun = self._pressing = True
        self._durable |= durable

    def depart(self, data: bytes, flight: Flight) -> None:
        """A known exchange, recorded, instead of messages with entries of their own."""
        self.flight = flight
        self._out.append(data)
        self._begun = self.committing = True
        self.generation += 1

    def _expand(self) -> None:
        """A known exchange becomes ordinary: something else is to be looked at beside it."""
        raise NotImplementedError

    def wait_for(self, entry: Expected) -> None:
        """The client's next message waits until this entry is fulfilled, failed or skipped."""
        self.awaited = entry
        self.need = Need.ANSWER

    def block_on(self, entry: Expected) -> Blocked:
        """The same for this very message: to be raised."""
        self.awaited = entry
        return Blocked(Need.ANSWER)

    def release(self) -> None:
        """The target has answered as far as was waited for."""
        self.awaited = None
        if self.need is Need.ANSWER:
            self.need = None
            self._released = True

    @property
    def outstanding(self) -> bool:
        """Whether anything sent, or about to be, has not been answered."""
        return bool(self._queue or self._batch)

    @property
    def last(self) -> Expected | None:
        """The newest thing the target owes."""
        return self._batch[-1] if self._batch else (self._queue[-1] if self._queue else None)

    def _flush(self) -> None:
        if not self._out or self.syncing or (self.need is Need.JUDGEMENT and not self._pressing):
            return
        if not self._begun:
            self._forward()
        elif self._durable:
            self.syncing = True
        else:
            self.committing = True

    def commit(self) -> None:
        """The round ends: what has gathered is recorded, and goes on."""
        self.committing = False
        if self.syncing or not self._out:
            return
        try:
            self.session.commit()
        except TaskgateError as error:
            self._abandon(error)
            self._advance()
        else:
            self._forward()

    def _advance(self) -> None:
        raise NotImplementedError

    def _forward(self) -> None:
        self._queue.extend(self._batch)
        self.to_server.extend(self._out)
        self._clear_batch()

    def _clear_batch(self) -> None:
        self._batch.clear()
        self._out.clear()
        self._begun = self._durable = self._pressing = False

    def _abandon(self, error: TaskgateError) -> None:
        """The records could not be written: nothing of the batch is forwarded, each of its transactions is refused."""
        self._expand()
        batch = list(self._batch)
        self._clear_batch()
        for entry in reversed(batch):
            self._skipped(entry, f"not executed: {error.message}")
        markers = sum(entry.marker for entry in batch)
        open_end = not batch or not batch[-1].marker
        self._refuse_batch(answer_for(error), markers, open_end=open_end)
        self._forward()
        if self.awaited in batch:
            self.release()

    def _refuse_batch(self, answer: Report, markers: int, *, open_end: bool) -> None:
        raise NotImplementedError

    def _skipped(self, entry: Expected, why: str) -> None:
        raise NotImplementedError
