"""Entries for what a client asked to be described or executed: the answers that carry columns and rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from taskgate.domain import Facts
from taskgate.errors import TargetFault
from taskgate.protocols.postgres import backend
from taskgate.protocols.postgres.backend import Report
from taskgate.protocols.postgres.described import described
from taskgate.protocols.postgres.expectations import (
    DROP,
    DROP_DONE,
    PASS,
    PASS_DONE,
    SKIPPED,
    Execution,
    Expected,
    unexpected,
)
from taskgate.protocols.postgres.rows import ResultMasker, insist_on_rows

if TYPE_CHECKING:
    from taskgate.masking.plan import MaskPlan
    from taskgate.protocols.postgres.copy_out import CopyOut
    from taskgate.protocols.postgres.relay import Relay
    from taskgate.protocols.postgres.rows import RowRewriter
    from taskgate.protocols.postgres.session_state import Portal, Prepared
    from taskgate.protocols.postgres.statements import Statement


class DescribedStatement(Expected):
    """ParameterDescription, then RowDescription or NoData."""

    __slots__ = ("_parameters", "_prepared", "_swallow", "plan")

    def __init__(self, prepared: Prepared, plan: MaskPlan | None, *, swallow: bool = False) -> None:
        self._prepared = prepared
        self._swallow = swallow
        self._parameters = False
        self.plan = plan

    def accept(self, relay: Relay, kind: int, data: bytes, start: int, stop: int) -> int:
        if kind == 0x74 and not self._parameters:
            backend.decode_parameter_description(data, start, stop)
            self._parameters = True
            return DROP if self._swallow else PASS
        if not self._parameters or kind not in (0x54, 0x6E):
            raise unexpected(kind)
        fields = backend.decode_row_description(data, start, stop) if kind == 0x54 else ()
        self._prepared.fields = fields
        if self._swallow:
            return DROP_DONE
        self._prepared.shown_under = self.plan
        if not fields or self.plan is None:
            self._prepared.shown = fields
            return PASS_DONE
        shown = self._prepared.shown = tuple(ResultMasker(self.plan, fields).described())
        return relay.replace(backend.row_description(shown), done=True)


class DescribedPortal(Expected):
    """RowDescription or NoData. `bare`: the client asked by a Query, which has no NoData."""

    __slots__ = ("_bare", "_portal", "plan", "swallows")

    def __init__(self, portal: Portal, plan: MaskPlan | None, *, swallow: bool = False, bare: bool = False) -> None:
        self._portal = portal
        self.swallows = swallow
        self._bare = bare
        self.plan = plan

    def accept(self, relay: Relay, kind: int, data: bytes, start: int, stop: int) -> int:
        if kind == 0x6E:
            return DROP_DONE if self.swallows or self._bare else PASS_DONE
        if kind != 0x54:
            raise unexpected(kind)
        if self.plan is None:
            return DROP_DONE if self.swallows else PASS_DONE
        portal = self._portal
        known = described(self.plan, data[start:stop], None if portal.prepared is None else portal.asked)
        portal.masker = known.masker
        if portal.prepared is None:
            portal.asked = portal.formats = known.formats
        if self.swallows:
            return DROP_DONE
        return PASS_DONE if known.answer is None else relay.replace(known.answer, done=True)


class Executed(Expected):
    """Rows, then CommandComplete, EmptyQueryResponse or PortalSuspended; or a COPY."""

    __slots__ = ("_copying", "_rewriter", "_tickets", "execution", "plan", "portal")

    def __init__(self, portal: Portal, plan: MaskPlan | None, execution: Execution, tickets: tuple[int, ...]) -> None:
        self.portal = portal
        self.plan = plan
        self.execution = execution
        self._tickets = tickets
        self._rewriter: RowRewriter | None = None
        self._copying = False

    def rows(self, relay: Relay, data: bytes, start: int, stop: int, count: int) -> bytes | None:
        frames = data if start == 0 and stop == len(data) else data[start:stop]
        if self.plan is None:
            insist_on_rows(frames)
            self.execution.sent(frames, count)
            return None
        if self._rewriter is None:
            if self.portal.masker is None:
                raise TargetFault("the target sent rows that it has not described")
            self._rewriter = self.portal.masker.rewriter(self.portal.formats)
        rewritten = self._rewriter.rewrite(frames)
        self.execution.sent(rewritten, count)
        return None if rewritten is frames else rewritten

    def accept(self, relay: Relay, kind: int, data: bytes, start: int, stop: int) -> int:
        if kind == 0x43:
            self.completed(relay, backend.decode_command_complete(data, start, stop))
            return PASS_DONE
        if kind == 0x49 and stop - start == 5:
            self.completed(relay, b"")
            return PASS_DONE
        if kind == 0x73 and stop - start == 5:
            self._finish(b"")
            return PASS_DONE
        return relay.copies.started(self, self, kind, data, start, stop)

    @property
    def statement(self) -> Statement:
        return self.portal.statement

    def plan_of(self, position: int) -> MaskPlan | None:
        return self.plan

    @property
    def present(self) -> tuple[Facts, CopyOut | None] | None:
        statement = self.portal.statement
        return (statement.facts[0], statement.copy_outs[0]) if statement.facts else None

    def copied(self, relay: Relay, data: bytes, start: int, stop: int, count: int) -> bytes | None:
        return relay.copies.rows(self, data, start, stop, count)

    def completed(self, relay: Relay, tag: bytes) -> None:
        relay.copies.completed()
        for ticket in self._tickets:
            relay.names.confirm(ticket)
        self._finish(tag)
        relay.completed(self.portal.statement, tag)

    def _finish(self, tag: bytes, error: str | None = None) -> None:
        if self._rewriter is not None:
            self.execution.masked(self._rewriter.counts)
        self.execution.finish(tag, changed=backend.rows_of(tag), error=error)

    def failed(self, relay: Relay, report: Report) -> Report | None:
        scrubbed = relay.scrubbed(report, self.plan)
        self.skipped(relay, f"{scrubbed.sqlstate} {scrubbed.text}")
        relay.copies.failed(self)
        return scrubbed

    def skipped(self, relay: Relay, why: str = SKIPPED) -> None:
        for ticket in self._tickets:
            relay.names.discard(ticket)
        self._finish(b"", why)


class Queried(Expected):
    """Everything that answers a simple Query: results in the order of its statements, then ReadyForQuery."""

    __slots__ = (
        "_at",
        "_changed",
        "_failed",
        "_masker",
        "_rewriter",
        "_tag",
        "_tickets",
        "execution",
        "plans",
        "statement",
    )

    marker = True

    def __init__(
        self, statement: Statement, plans: Sequence[MaskPlan], execution: Execution | None, tickets: tuple[int, ...]
    ) -> None:
        self.statement = statement
        self.plans = plans
        self.execution = execution
        self._tickets = tickets
        self._at = 0
        self._failed: str | None = None
        self._masker: ResultMasker | None = None
        self._rewriter: RowRewriter | None = None
        self._tag = b""
        self._changed = 0

    @property
    def plan(self) -> MaskPlan | None:  # type: ignore[override]
        return self.plan_of(self._at)

    def plan_of(self, position: int) -> MaskPlan | None:
        plan = self.plans[position] if position < len(self.plans) else None
        return plan if plan is not None and plan.active else None

    def rows(self, relay: Relay, data: bytes, start: int, stop: int, count: int) -> bytes | None:
        if self._failed is not None or self.execution is None:
            raise unexpected(0x44)
        frames = data if start == 0 and stop == len(data) else data[start:stop]
        if self.plan is None:
            insist_on_rows(frames)
            self.execution.sent(frames, count)
            return None
        if self._rewriter is None:
            raise TargetFault("the target sent rows that it has not described")
        rewritten = self._rewriter.rewrite(frames)
        self.execution.sent(rewritten, count)
        return None if rewritten is frames else rewritten

    def accept(self, relay: Relay, kind: int, data: bytes, start: int, stop: int) -> int:
        if kind == 0x5A:
            return self._ready(relay, backend.decode_ready(data, start, stop))
        if self._failed is not None:
            raise unexpected(kind)
        if kind == 0x49 and stop - start == 5 and self._at == 0:
            return PASS
        if self.execution is None or self._at >= len(self.statement.facts):
            raise unexpected(kind)
        if kind == 0x54:
            return self._described(relay, data, start, stop)
        if kind == 0x43:
            self._completed(relay, backend.decode_command_complete(data, start, stop))
            return PASS
        return relay.copies.started(self, self, kind, data, start, stop)

    @property
    def present(self) -> tuple[Facts, CopyOut | None] | None:
        if self._at >= len(self.statement.facts):
            return None
        return self.statement.facts[self._at], self.statement.copy_outs[self._at]

    def copied(self, relay: Relay, data: bytes, start: int, stop: int, count: int) -> bytes | None:
        return relay.copies.rows(self, data, start, stop, count)

    def _described(self, relay: Relay, data: bytes, start: int, stop: int) -> int:
        self._count_masked()
        plan = self.plan
        if plan is None:
            return PASS
        known = described(plan, data[start:stop], None)
        self._rewriter = known.masker.rewriter(known.formats)  # binary for FETCH from a binary cursor
        return PASS if known.answer is None else relay.replace(known.answer, done=False)

    def _count_masked(self) -> None:
        if self._rewriter is not None and self.execution is not None:
            self.execution.masked(self._rewriter.counts)
            self._rewriter = None

    def _completed(self, relay: Relay, tag: bytes) -> None:
        self._count_masked()
        relay.copies.completed()
        if self._at < len(self._tickets):
            relay.names.confirm(self._tickets[self._at])
        self._at += 1
        self._tag = tag
        self._changed += backend.rows_of(tag)
        relay.completed(self.statement, tag)

    def _ready(self, relay: Relay, status: int) -> int:
        self._count_masked()
        if self.execution is not None:
            if self._failed is None and self._at != len(self.statement.facts):
                raise TargetFault("the target ran another number of statements than it was sent")
            self.execution.finish(self._tag, changed=self._changed, error=self._failed)
        relay.ready(status)
        return PASS_DONE

    def failed(self, relay: Relay, report: Report) -> Report | None:
        if self._failed is not None:
            raise unexpected(0x45)
        scrubbed = relay.scrubbed(report, self.plan)
        self._failed = f"{scrubbed.sqlstate} {scrubbed.text}"
        for ticket in self._tickets[self._at :]:
            relay.names.discard(ticket)
        relay.copies.failed(self)
        return scrubbed

    def skipped(self, relay: Relay, why: str = SKIPPED) -> None:
        for ticket in self._tickets[self._at :]:
            relay.names.discard(ticket)
        if self.execution is not None:
            self.execution.finish(error=why)
