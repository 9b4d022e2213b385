"""The simple protocol: one text, its statements' results, ReadyForQuery."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from taskgate.enforcement.contracts import Permit
from taskgate.protocols.postgres import frontend
from taskgate.protocols.postgres.expectations import Answer, Execution
from taskgate.protocols.postgres.frontend import FLUSH
from taskgate.protocols.postgres.results import DescribedPortal, Queried
from taskgate.protocols.postgres.row_bound import Bounded, bound_of
from taskgate.protocols.postgres.session_state import Portal, Prepared
from taskgate.protocols.postgres.statements import Statement
from taskgate.protocols.postgres.understanding import (
    Understanding,
    only,
)

if TYPE_CHECKING:
    pass

_NOTHING = Permit(rules=(), masks=())  # of a portal that has not been judged yet
Handler = Callable[[bytes, int, int], None]


class SimpleQueries(Understanding):
    """Base of the interpreter: what becomes of a Query."""

    def _query(self, data: bytes, start: int, stop: int) -> None:
        statement = self._analysed(frontend.Query.decode(data, start, stop).text, ())
        relay = self._relay
        if not statement.facts:
            relay.send(data[start:stop], Queried(statement, (), None, ()))
            relay.press()
            return
        permit = self._permit(statement.action)
        bound = bound_of(statement, permit.row_bound)
        execution, tickets = self._begin(statement, permit, ())
        self._forget_unnamed()
        if bound is not None:
            self._query_bounded(statement, permit, execution, tickets, bound)
            return
        entry = Queried(statement, permit.masks, execution, tickets)
        relay.send(data[start:stop], entry)
        if statement.copies_in:
            relay.wait_for(entry)

    def _query_bounded(
        self, statement: Statement, permit: Permit, execution: Execution, tickets: tuple[int, ...], bound: int
    ) -> None:
        """The same by Parse, Bind, Describe and Execute, whose transaction stays open until the rows are counted."""
        relay = self._relay
        text = statement.action.text
        plan = only(permit)
        prepared = Prepared(b"", text, (), statement)
        portal = Portal(b"", statement, permit, prepared)
        entry = Bounded(portal, plan, execution, tickets, bound=bound, simple=True)
        parts = (
            frontend.Parse(b"", text.encode()).encode(),
            frontend.Bind(b"", b"").encode(),
            frontend.describe(b"P", b""),
            frontend.Execute(b"").encode(),
            FLUSH,
        )
        described = DescribedPortal(portal, plan, bare=True)
        relay.send(b"".join(parts), Answer(0x31, swallow=True), Answer(0x32, swallow=True), described, entry)
        relay.wait_for(entry)

    def _forget_unnamed(self) -> None:
        """A Query drops the unnamed statement and the unnamed portal."""
        state = self._relay.state
        state.statements.pop(b"", None)
        state.portals.pop(b"", None)
