"""Messages ↔ actions: what each message of a client means, and what is sent to the target for it.

Handlers are called by the relay with one whole message. They return when it is done with, raise `Blocked` when it has
to wait (nothing has been done yet then), `Refused` or a fault when it is refused, ClientFault when the session ends.
Which handlers there are depends on the mode: what a message means differs while a COPY reads data, and nothing but
Sync means anything while the target skips.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from taskgate.enforcement.contracts import Permit
from taskgate.errors import ClientFault
from taskgate.protocols.postgres import frontend, refusals
from taskgate.protocols.postgres.backend import Report
from taskgate.protocols.postgres.expectations import Answer, QueryRefusal, Ready, Refusal
from taskgate.protocols.postgres.frontend import FLUSH, SYNC
from taskgate.protocols.postgres.refusals import refuse
from taskgate.protocols.postgres.results import DescribedPortal, DescribedStatement, Executed
from taskgate.protocols.postgres.row_bound import Bounded, bound_of
from taskgate.protocols.postgres.rows import ResultMasker
from taskgate.protocols.postgres.session_state import Portal, Prepared
from taskgate.protocols.postgres.simple_query import SimpleQueries
from taskgate.protocols.postgres.statements import Analyst
from taskgate.protocols.postgres.understanding import IN_PLACE, changed, only, parameters_of, same_masks
from taskgate.sql import libpg_query, names

if TYPE_CHECKING:
    from taskgate.masking.plan import MaskPlan
    from taskgate.protocols.postgres.relay import Relay

_NOTHING = Permit(rules=(), masks=())  # of a portal that has not been judged yet
Handler = Callable[[bytes, int, int], None]


class Interpreter(SimpleQueries):
    """One session's. `handlers` are those of the present mode."""

    def __init__(self, relay: Relay, analyst: Analyst) -> None:
        super().__init__(relay, analyst)
        every: dict[int, Handler] = {0x58: self._terminate}
        self.normal: Mapping[int, Handler] = every | {
            0x51: self._query,
            0x50: self._parse,
            0x42: self._bind,
            0x44: self._describe,
            0x45: self._execute,
            0x43: self._close,
            0x48: self._flush,
            0x53: self._sync,
            0x46: self._function_call,
            0x64: self._ignore,
            0x63: self._ignore,
            0x66: self._ignore,
        }
        self._skipping: Mapping[int, Handler] = (
            every | {kind: self._ignore for kind in self.normal if kind not in (0x53, 0x58)} | {0x53: self._sync}
        )
        self._feeding: Mapping[int, Handler] = every | {
            0x64: self._copy_data,
            0x63: self._copy_done,
            0x66: self._copy_fail,
            0x48: self._ignore,
            0x53: self._ignore,
        }
        self.handlers: Mapping[int, Handler] = self.normal

    # --- extended protocol ---

    def _parse(self, data: bytes, start: int, stop: int) -> None:
        message = frontend.Parse.decode(data, start, stop)
        relay = self._relay
        if message.name:
            relay.certain((b"S", message.name))
        if relay.state.full and message.name not in relay.state.statements:
            raise refuse("54000", "too many prepared statements and portals in one session")
        statement = self._analysed(message.text, message.types)
        if len(statement.facts) > 1:
            raise refuse("42601", "cannot insert multiple commands into a prepared statement")
        self._permit(statement.preparing)
        text = statement.action.text
        ticket = 0
        if message.name and statement.facts:
            name = message.name.decode("utf-8", "replace")
            # A long one is not read again here for the sake of SQL's EXECUTE, to which it is unknown.
            tree = libpg_query.parse(text)[0]["stmt"] if len(text) <= IN_PLACE else {"LongStmt": {}}
            ticket = relay.names.stage([names.Prepared(name, tree)])
        undo = relay.state.put_statement(Prepared(message.name, text, message.types, statement))
        key = (b"S", message.name)
        relay.change(data[start:stop], key, Answer(0x31, undo=undo, ticket=ticket, name=key))

    def _bind(self, data: bytes, start: int, stop: int) -> None:
        message = frontend.Bind.decode(data, start, stop)
        relay = self._relay
        prepared = self._prepared(message.statement)
        if message.portal:
            relay.certain((b"P", message.portal))
        if relay.state.full and message.portal not in relay.state.portals:
            raise refuse("54000", "too many prepared statements and portals in one session")
        statement = self._current(prepared)
        permit = self._permit(statement.preparing)
        plan = only(permit)
        portal = Portal(message.portal, statement, permit, prepared, parameters_of(message, prepared.types))
        portal.asked = portal.formats = message.result_formats
        encoded = data[start:stop]
        if prepared.shown is not None and not same_masks(prepared.shown_under, plan):
            shown = ResultMasker(plan, prepared.fields or ()).described() if plan else prepared.fields or ()
            if tuple(shown) != prepared.shown:
                raise changed()
        if plan is not None and any(message.result_formats):
            portal.masker = self._masker(prepared, plan)
            if portal.masker is not None:
                portal.formats = tuple(portal.masker.fetch_formats(message.result_formats))
        if portal.formats != portal.asked:
            encoded = message._replace(result_formats=portal.formats).encode()
        ticket = 0
        if message.portal and statement.facts:
            opened = names.CursorOpened(message.portal.decode("utf-8", "replace"), statement.facts[0])
            ticket = relay.names.stage([opened])
        key = (b"P", message.portal)
        relay.change(encoded, key, Answer(0x32, undo=relay.state.put_portal(portal), ticket=ticket, name=key))

    def _masker(self, prepared: Prepared, plan: MaskPlan) -> ResultMasker | None:
        """The masker of a statement's columns; None where it has none. Asks the target where they are not known yet."""
        if prepared.fields is None:
            entry = DescribedStatement(prepared, plan, swallow=True)
            self._relay.send(frontend.describe(b"S", prepared.name) + FLUSH, entry)
            raise self._relay.block_on(entry)
        return ResultMasker(plan, prepared.fields) if prepared.fields else None

    def _describe(self, data: bytes, start: int, stop: int) -> None:
        message = frontend.Named.decode(data, start, stop)
        if message.kind == b"S":
            prepared = self._prepared(message.name)
            permit = self._permit(self._current(prepared).preparing)
            self._relay.send(data[start:stop], DescribedStatement(prepared, only(permit)))
            return
        portal = self._portal(message.name)
        if portal.prepared is None:
            portal.permit = self._permit(portal.statement.preparing)
        portal.described = True
        self._relay.send(data[start:stop], DescribedPortal(portal, only(portal.permit)))

    def _execute(self, data: bytes, start: int, stop: int) -> None:
        message = frontend.Execute.decode(data, start, stop)
        relay = self._relay
        self.settling.settle()
        portal = self._portal(message.portal)
        if portal.statement.volatile and portal.prepared is not None:  # what EXECUTE or FETCH name may have changed
            portal.statement = self._current(portal.prepared)
        statement = portal.statement
        # A portal that goes on was judged, perhaps by a human, when it began.
        action = statement.preparing if portal.started else statement.action
        permit = self._permit(action, portal.parameters)
        plan = only(permit)
        if permit is not portal.permit and not same_masks(only(portal.permit), plan):
            if portal.described or any(portal.asked):
                raise changed()
            portal.permit = permit
        if plan is not None and not portal.described:
            portal.described = True
            entry = DescribedPortal(portal, plan, swallow=True)
            relay.send(frontend.describe(b"P", portal.name), entry)
        bound = None if portal.started else bound_of(statement, permit.row_bound)
        if bound is not None and message.max_rows:
            raise refuse("0A000", "taskgate: a row bound and a row limit cannot be had together")
        execution, tickets = self._begin(statement, permit, portal.parameters)
        portal.started = True
        if bound is not None:
            executed: Executed = Bounded(portal, plan, execution, tickets, bound=bound, simple=False)
        else:
            executed = Executed(portal, plan, execution, tickets)
        relay.send(data[start:stop], executed)
        if statement.copies_in or bound is not None:
            relay.send(FLUSH)
            relay.wait_for(executed)

    def _close(self, data: bytes, start: int, stop: int) -> None:
        message = frontend.Named.decode(data, start, stop)
        relay = self._relay
        key = (message.kind, message.name)
        relay.certain(key)
        name = message.name.decode("utf-8", "replace")
        change: names.NameChange
        if message.kind == b"S":
            undo, change = relay.state.close_statement(message.name), names.Deallocated(name)
        else:
            undo, change = relay.state.close_portal(message.name), names.CursorClosed(name)
        ticket = relay.names.stage([change]) if name else 0
        relay.change(data[start:stop], key, Answer(0x33, undo=undo, ticket=ticket, name=key))

    def _flush(self, data: bytes, start: int, stop: int) -> None:
        frontend.expect_empty(data, start, stop, "Flush")
        self._relay.send(FLUSH)
        self._relay.press()

    def _sync(self, data: bytes, start: int, stop: int) -> None:
        frontend.expect_empty(data, start, stop, "Sync")
        self.handlers = self.normal
        self._relay.send(SYNC, Ready())
        self._relay.press()

    # --- the rest ---

    def _function_call(self, data: bytes, start: int, stop: int) -> None:
        self._session.event("function_call_refused")
        raise refuse(
            "42501",
            "taskgate: the FunctionCall message is refused: it names a function by its number and shows no SQL",
            hint="Call the function in a SELECT.",
        )

    def _terminate(self, data: bytes, start: int, stop: int) -> None:
        frontend.expect_empty(data, start, stop, "Terminate")
        self._relay.terminated = True

    def _ignore(self, data: bytes, start: int, stop: int) -> None:
        """The target would ignore it as well: data of a COPY that has failed, anything while it skips to Sync."""

    def _copy_data(self, data: bytes, start: int, stop: int) -> None:
        self._relay.send(data[start:stop])
        self._relay.press()

    def _copy_done(self, data: bytes, start: int, stop: int) -> None:
        frontend.expect_empty(data, start, stop, "CopyDone")
        self._copy_ended(data[start:stop])

    def _copy_fail(self, data: bytes, start: int, stop: int) -> None:
        frontend.decode_copy_fail(data, start, stop)
        self._copy_ended(data[start:stop])

    def _copy_ended(self, message: bytes) -> None:
        relay = self._relay
        entry = relay.copies.feeding
        self.handlers = self.normal
        relay.send(message)
        relay.press()
        if entry is not None and entry.marker:  # a Query: it may go on with another COPY
            relay.wait_for(entry)

    def out_of_place(self, kind: int) -> ClientFault:
        """No handler in this mode: either unknown, or unexpected while a COPY reads data."""
        if kind in self.normal:
            return ClientFault(f"unexpected message type 0x{kind:02X} during COPY from stdin")
        return ClientFault(f"invalid frontend message type {kind}")

    # --- refusals ---

    def refuse(self, kind: int, report: Report, *, unnamed: bool = False) -> None:
        """Put a message that the target rejects in this message's place, and the report in its error's. `unnamed`: a
        Parse without a name, which takes the unnamed statement away even when it fails."""
        relay = self._relay
        if kind in (0x51, 0x46):
            relay.send(refusals.FAILING_QUERY, QueryRefusal(report))
            self._forget_unnamed()
        else:
            if unnamed:
                undo = relay.state.close_statement(b"")
                relay.send(frontend.close(b"S", b""), Answer(0x33, swallow=True, undo=undo))
            relay.send(refusals.failing_bind(), Refusal(report))
            self.handlers = self._skipping
        relay.press()

    def refuse_batch(self, report: Report, markers: int, *, open_end: bool) -> None:
        """Refuse a batch that held so many Syncs and Queries, and perhaps messages behind the last of them."""
        relay = self._relay
        for _ in range(markers):
            relay.send(refusals.failing_bind(), Refusal(report))
            relay.send(SYNC, Ready())
        if open_end:
            relay.send(refusals.failing_bind(), Refusal(report))
            self.handlers = self._skipping

    def await_commands(self) -> None:
        self.handlers = self.normal

    def skip_until_sync(self) -> None:
        """The target skips, and so does the client's message that perhaps waits for a judgement."""
        self.handlers = self._skipping
        self._relay.never_mind()

    def copy_in_started(self) -> None:
        self.handlers = self._feeding

    def copy_in_failed(self, *, marker: bool) -> None:
        """The target does not read data any more. After a Query it goes on at once, else at the next Sync."""
        if self.handlers is self._feeding:
            self.handlers = self.normal if marker else self._skipping
