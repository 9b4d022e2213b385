"""The row bound of an approval: more changed rows than the human allowed are rolled back, and refused.

The statement runs with Execute and Flush, so that its implicit transaction stays open until Sync. What it answers is
held back until its row count is known. Over the bound the target gets a message it must reject, whose error is the
refusal: everything of the transaction is rolled back, an explicit one included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskgate.protocols.postgres import backend
from taskgate.protocols.postgres.backend import report
from taskgate.protocols.postgres.expectations import DROP_DONE, SKIPPED, Execution, Ready
from taskgate.protocols.postgres.frontend import SYNC
from taskgate.protocols.postgres.refusals import refuse
from taskgate.protocols.postgres.results import Executed
from taskgate.sql import libpg_query

if TYPE_CHECKING:
    from taskgate.masking.plan import MaskPlan
    from taskgate.protocols.postgres.relay import Relay
    from taskgate.protocols.postgres.session_state import Portal
    from taskgate.protocols.postgres.statements import Statement

_COUNTED = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE"})
_MODIFYING = frozenset({"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"})


def bound_of(statement: Statement, bound: int | None) -> int | None:
    """The bound that applies; None where there is none, or nothing is changed. Raises Refused where rows are changed
    that the command tag does not count."""
    if bound is None or not statement.action.changes:
        return None
    if len(statement.facts) != 1:
        raise refuse(
            "0A000",
            "taskgate: only one statement at a time can be held to a row bound",
            hint="Send the statement by itself.",
        )
    tree = libpg_query.parse(statement.action.text)
    if statement.facts[0].tag not in _COUNTED or any(_changes_in_with(node["stmt"]) for node in tree):
        raise refuse(
            "0A000",
            "taskgate: the rows this statement changes cannot be counted, so it cannot be held to a row bound",
            hint="A single INSERT, UPDATE, DELETE or MERGE without data-modifying WITH can.",
        )
    return bound


def _changes_in_with(node: Any) -> bool:
    if isinstance(node, list):
        return any(_changes_in_with(item) for item in node)
    if not isinstance(node, dict):
        return False
    query = node.get("ctequery")
    if isinstance(query, dict) and not _MODIFYING.isdisjoint(query):
        return True
    return any(_changes_in_with(item) for item in node.values())


class Bounded(Executed):
    """An `Executed` whose answer is held until its row count is known. `simple`: the client sent a Query, so that the
    Sync is ours to send."""

    __slots__ = ("_bound", "_held", "_held_size", "_over", "_simple")

    def __init__(
        self,
        portal: Portal,
        plan: MaskPlan | None,
        execution: Execution,
        tickets: tuple[int, ...],
        *,
        bound: int,
        simple: bool,
    ) -> None:
        super().__init__(portal, plan, execution, tickets)
        self._bound = bound
        self._simple = simple
        self._held: list[bytes] = []
        self._held_size = 0
        self._over = False

    def rows(self, relay: Relay, data: bytes, start: int, stop: int, count: int) -> bytes | None:
        frames = super().rows(relay, data, start, stop, count)
        if frames is None:
            frames = data[start:stop]
        self._held_size += len(frames)
        self._over |= self.execution.rows > self._bound or self._held_size > relay.limits.held_result
        if self._over:
            self._held.clear()
        else:
            self._held.append(frames)
        return b""

    def accept(self, relay: Relay, kind: int, data: bytes, start: int, stop: int) -> int:
        if kind != 0x43:
            return super().accept(relay, kind, data, start, stop)
        tag = backend.decode_command_complete(data, start, stop)
        changed = backend.rows_of(tag)
        if changed > self._bound or self._over:
            self._refuse(relay, changed)
            return DROP_DONE
        self.completed(relay, tag)
        if self._simple:
            relay.send(SYNC, Ready())
        return relay.replace(b"".join((*self._held, data[start:stop])), done=True)

    def _refuse(self, relay: Relay, changed: int) -> None:
        block = relay.transaction.block
        why = f"{changed} rows would change, {self._bound} are allowed"
        if changed <= self._bound:
            why = "its result is larger than what is held back while rows are counted"
        Executed.skipped(self, relay, f"rolled back: {why}")
        answer = report(
            "ERROR",
            "42501",
            f"taskgate: rolled back: {why}",
            detail="The bound is that of the approval." + (" The whole transaction is rolled back." if block else ""),
            hint="Narrow the statement, or ask for an approval of more rows.",
        )
        relay.refused(answer)
        if self._simple:
            relay.send(SYNC, Ready())
            relay.await_commands()

    def skipped(self, relay: Relay, why: str = SKIPPED) -> None:
        super().skipped(relay, why)
        self._go_on(relay)

    def _go_on(self, relay: Relay) -> None:
        """The client of a Query sends no Sync."""
        if self._simple:
            relay.send(SYNC, Ready())
            relay.await_commands()
