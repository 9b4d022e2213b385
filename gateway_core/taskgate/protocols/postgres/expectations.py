"""What the target owes us: one entry for everything sent to it, in order.

Each entry knows which messages may answer it and what becomes of them: passed on as they are, swallowed (the gateway
asked, not the client), or replaced. A message that fits no entry means that target and gateway no longer agree about
what is being answered; the session ends before any of it reaches the client.

Source: https://www.postgresql.org/docs/18/protocol-flow.html.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from taskgate.domain import Outcome, RecordingLevel
from taskgate.enforcement.contracts import GovernedSession, Permit
from taskgate.errors import TargetFault
from taskgate.protocols.postgres import backend
from taskgate.protocols.postgres.backend import Report

if TYPE_CHECKING:
    from taskgate.masking.plan import MaskPlan
    from taskgate.protocols.postgres.relay import Relay
    from taskgate.protocols.postgres.session_state import Name, Undo

# What becomes of a message (bit 1: it is not passed on as it is) and of its entry (bit 0: it is fulfilled).
PASS, PASS_DONE, DROP, DROP_DONE = 0, 1, 2, 3

SKIPPED = "not executed: an earlier message of the batch failed"


class Expected:
    """One entry. `marker`: a target that skips after an error stops skipping here, and answers with ReadyForQuery."""

    __slots__ = ()

    marker = False
    plan: MaskPlan | None = None  # whose texts of errors and notices are scrubbed

    def accept(self, relay: Relay, kind: int, data: bytes, start: int, stop: int) -> int:
        """One message that is no DataRow, error or notice. Raises TargetFault where it does not fit."""
        raise unexpected(kind)

    def rows(self, relay: Relay, data: bytes, start: int, stop: int, count: int) -> bytes | None:
        """`count` whole DataRow messages: what to send in their place, None for themselves."""
        raise unexpected(0x44)

    def copied(self, relay: Relay, data: bytes, start: int, stop: int, count: int) -> bytes | None:
        """The same for CopyData."""
        raise unexpected(0x64)

    def failed(self, relay: Relay, report: Report) -> Report | None:
        """The target answered with an error: the report for the client, scrubbed, or None where it is swallowed."""
        return relay.scrubbed(report, self.plan)

    def skipped(self, relay: Relay, why: str = SKIPPED) -> None:
        """The target never looked at the message, or nobody will ever know whether it did."""


def unexpected(kind: int) -> TargetFault:
    return TargetFault(f"the target sent a message of type {chr(kind)!r} where none can be")


class Answer(Expected):
    """ParseComplete, BindComplete or CloseComplete."""

    __slots__ = ("_code", "_kind", "_name", "_ticket", "_undo")

    def __init__(
        self,
        kind: int,
        *,
        swallow: bool = False,
        undo: Undo | None = None,
        ticket: int = 0,
        name: Name | None = None,
    ) -> None:
        """`name`: what the message changes. `undo`, `ticket`: how that is taken back, here and in SessionNames."""
        self._kind = kind
        self._code = DROP_DONE if swallow else PASS_DONE
        self._undo = undo
        self._ticket = ticket
        self._name = name

    def answers(self, kind: int, name: Name | None = None) -> bool:
        """Whether it waits for a message of this type that the client sees, and for nothing else to be known from it.
        `name`: about what."""
        return (
            kind == self._kind and self._code == PASS_DONE and not self._ticket and (name is None or name == self._name)
        )

    def accept(self, relay: Relay, kind: int, data: bytes, start: int, stop: int) -> int:
        if kind != self._kind or stop - start != 5:
            raise unexpected(kind)
        if self._ticket:
            relay.names.confirm(self._ticket)
        self._answered(relay)
        return self._code

    def _answered(self, relay: Relay) -> None:
        if self._name is not None:
            pending = relay.state.pending
            waiting = pending.get(self._name)
            if waiting is not None and waiting[0] is self:
                del pending[self._name]

    def failed(self, relay: Relay, report: Report) -> Report | None:
        self.skipped(relay)
        return relay.scrubbed(report, None)

    def skipped(self, relay: Relay, why: str = SKIPPED) -> None:
        if self._undo is not None:
            self._undo()
        if self._ticket:
            relay.names.discard(self._ticket)
        self._answered(relay)


class Ready(Expected):
    """The ReadyForQuery that a Sync causes. An error may precede it: constraints that are checked at commit."""

    __slots__ = ("_swallow",)

    marker = True

    def __init__(self, *, swallow: bool = False) -> None:
        self._swallow = swallow

    def accept(self, relay: Relay, kind: int, data: bytes, start: int, stop: int) -> int:
        if kind != 0x5A:
            raise unexpected(kind)
        relay.ready(backend.decode_ready(data, start, stop))
        return DROP_DONE if self._swallow else PASS_DONE


class Refusal(Expected):
    """A message that the target must reject; its error is replaced by the report."""

    __slots__ = ("_report",)

    def __init__(self, report: Report) -> None:
        self._report = report

    def failed(self, relay: Relay, report: Report) -> Report | None:
        return self._report


class QueryRefusal(Refusal):
    """The same for a Query, which brings its own ReadyForQuery."""

    __slots__ = ("_refused",)

    marker = True

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self._refused = False

    def failed(self, relay: Relay, report: Report) -> Report | None:
        if self._refused:
            raise unexpected(0x45)
        self._refused = True
        return super().failed(relay, report)

    def accept(self, relay: Relay, kind: int, data: bytes, start: int, stop: int) -> int:
        if kind != 0x5A or not self._refused:
            raise unexpected(kind)
        relay.ready(backend.decode_ready(data, start, stop))
        return PASS_DONE


class Probe(Expected):
    """The row and the completion of a question of the gateway's own."""

    __slots__ = ("_answered", "_row")

    def __init__(self, answered: Callable[[tuple[bytes | None, ...]], None]) -> None:
        self._answered = answered
        self._row: tuple[bytes | None, ...] | None = None

    def rows(self, relay: Relay, data: bytes, start: int, stop: int, count: int) -> bytes | None:
        if self._row is not None or count != 1:
            raise unexpected(0x44)
        self._row = backend.decode_data_row(data, start, stop)
        return b""

    def accept(self, relay: Relay, kind: int, data: bytes, start: int, stop: int) -> int:
        if kind != 0x43 or self._row is None:
            raise unexpected(kind)
        self._answered(self._row)
        return DROP_DONE


class Execution:
    """One action on its way through the target: what has come back so far, and its record's sequence number."""

    __slots__ = ("_masked", "_records_rows", "_session", "permit", "rows", "sequence", "size")

    def __init__(self, session: GovernedSession, permit: Permit, sequence: int) -> None:
        self._session = session
        self._records_rows = permit.recording is RecordingLevel.RESULTS
        self._masked: dict[str, int] = {}
        self.permit = permit
        self.sequence = sequence
        self.rows = 0
        self.size = 0

    def sent(self, data: bytes, count: int) -> None:
        """These rows are on their way to the client."""
        self.rows += count
        self.size += len(data)
        if self._records_rows:
            self._session.rows(self.sequence, data)

    def masked(self, counts: dict[str, int]) -> None:
        for rule, count in counts.items():
            self._masked[rule] = self._masked.get(rule, 0) + count

    def finish(self, tag: bytes = b"", *, changed: int = 0, error: str | None = None) -> None:
        outcome = Outcome(tag.decode("utf-8", "replace"), changed or self.rows, self.size, self._masked, error)
        self._session.finish(self.sequence, outcome)
