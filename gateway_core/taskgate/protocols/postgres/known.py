"""Exchanges that are known: a batch that the interpreter has been through before under the very circumstances of now.

A client that runs one prepared statement again and again sends the same messages but for their parameters, and gets the
same ones back but for the rows. Such a batch is recognised as a whole (`speed.exchange_key`), its action is recorded
with its own parameters, and it is forwarded as it stands. Its answer is recognised as a whole too
(`speed.exchange_reply`), and its rows pass through the masks that the batch was learnt with.

Nothing is decided here. An exchange is learnt from what the interpreter and the entries did with a batch and its
answer, and serves only as long as everything they looked at is the same object as then: statement, surroundings,
permit. It serves only while nothing else is in flight, so the batch is all there is (`Flight`). Whatever fits less than
exactly, in either direction, turns the flight into the ordinary entries first (`expand`), and goes the ordinary way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from taskgate.domain import Outcome, Parameter, RecordingLevel, TransactionState
from taskgate.enforcement.contracts import Permit
from taskgate.protocols.postgres import backend, frontend
from taskgate.protocols.postgres.described import described
from taskgate.protocols.postgres.expectations import Answer, Execution, Expected, Ready
from taskgate.protocols.postgres.results import DescribedPortal, Executed
from taskgate.protocols.postgres.session_state import Portal, Prepared
from taskgate.protocols.postgres.statements import Statement
from taskgate.speed import exchange_key, exchange_reply, message_runs

if TYPE_CHECKING:
    from taskgate.masking.plan import MaskPlan
    from taskgate.protocols.postgres.interpret import Interpreter
    from taskgate.protocols.postgres.relay import Relay
    from taskgate.protocols.postgres.rows import ResultMasker

_MOST_EXCHANGES = 64  # a session
_LONGEST_KEY = 2048
_LONGEST_OPENING = 16 * 1024
_DESCRIBE = frontend.describe(b"P", b"")
_END = 15  # bytes of Execute and Sync: where a Describe of the gateway's own is put
_UNNAMED_STATEMENT, _UNNAMED_PORTAL = (b"S", b""), (b"P", b"")
_PARSE_COMPLETE, _BIND_COMPLETE, _NO_DATA, _ROW_DESCRIPTION = 0x31, 0x32, 0x6E, 0x54
_IDLE, _IN_TRANSACTION = 0x49, 0x54

_NOTHING: dict[str, int] = {}


@lru_cache(maxsize=256)
def _read(tag: bytes) -> tuple[str, int]:
    """A command tag as text, and the rows it tells of."""
    return tag.decode("utf-8", "replace"), backend.rows_of(tag)



@dataclass(frozen=True, slots=True, eq=False)
class Exchange:
    """One that is known. `opening` is what the target's answer begins with, `shown` what the client gets for it."""

    parses: bool  # it begins with a Parse of the unnamed statement
    describes: bool
    injects: bool  # the Describe is the gateway's
    prepared: Prepared
    statement: Statement
    permit: Permit
    scope: object  # of the session, when the permit was had
    plan: MaskPlan | None
    asked: tuple[int, ...]
    formats: tuple[int, ...]  # of the parameters
    masker: ResultMasker | None
    rewrites: bool  # the masker has something to do with rows
    opening: bytes
    shown: bytes
    columns: int  # of its rows; -1: none were described


class Flight:
    """A known exchange on its way: the only thing that is."""

    __slots__ = ("exchange", "generation", "parameters", "sequence", "status")

    def __init__(
        self, exchange: Exchange, sequence: int, parameters: Sequence[Parameter], generation: int, status: int
    ) -> None:
        self.exchange = exchange
        self.sequence = sequence  # of its action's record
        self.parameters = parameters
        self.generation = generation
        self.status = status  # of the ReadyForQuery that leaves everything as it is

    def landed(self, relay: Relay, data: bytes) -> bytes | None:
        """What the client gets for `data`, now on record, where that was the answer, all of it; else None.

        Raises TargetFault where the rows are not what the target announced."""
        exchange = self.exchange
        reply = exchange_reply(data, exchange.opening, exchange.columns)
        if reply is None:
            return None
        end, rows, tag, status = reply
        if status != self.status:
            return None
        start = len(exchange.opening)
        size = end - start
        masked: dict[str, int] = _NOTHING
        if rows and exchange.rewrites and exchange.masker is not None:
            rewriter = exchange.masker.rewriter(exchange.asked)
            rewritten = rewriter.rewrite(data[start:end])
            masked, size = rewriter.counts, len(rewritten)
            data = b"".join((exchange.shown, rewritten, data[end:]))
        elif exchange.shown is not exchange.opening:
            data = exchange.shown + data[start:]
        name, changed = _read(tag)
        relay.session.finish(self.sequence, Outcome(name, changed or rows, size, masked))
        if status == _IDLE:
            relay.transaction.state = TransactionState.IDLE
        else:
            relay.state.portals[b""] = self._portal()
        return data

    def _portal(self) -> Portal:
        exchange = self.exchange
        portal = Portal(b"", exchange.statement, exchange.permit, exchange.prepared, tuple(self.parameters))
        portal.asked = portal.formats = exchange.asked
        portal.masker = exchange.masker
        portal.described = exchange.describes
        portal.started = True
        return portal

    def entries(self, relay: Relay) -> list[Expected]:
        """The ordinary entries for the same batch, its names put into the session's state."""
        exchange, state = self.exchange, relay.state
        found: list[Expected] = []
        if exchange.parses:
            parsed = Answer(_PARSE_COMPLETE, undo=state.put_statement(exchange.prepared), name=_UNNAMED_STATEMENT)
            state.pending[_UNNAMED_STATEMENT] = (parsed, self.generation)
            found.append(parsed)
        portal = self._portal()
        portal.masker = None  # until it is described
        bound = Answer(_BIND_COMPLETE, undo=state.put_portal(portal), name=_UNNAMED_PORTAL)
        state.pending[_UNNAMED_PORTAL] = (bound, self.generation)
        found.append(bound)
        if exchange.describes:
            found.append(DescribedPortal(portal, exchange.plan, swallow=exchange.injects))
        execution = Execution(relay.session, exchange.permit, self.sequence)
        found.append(Executed(portal, exchange.plan, execution, ()))
        found.append(Ready())
        return found


class KnownExchanges:
    """Those of one session."""

    def __init__(self, relay: Relay, interpreter: Interpreter) -> None:
        self._relay = relay
        self._interpreter = interpreter
        self._known: OrderedDict[bytes, Exchange] = OrderedDict()
        self._lesson: tuple[bytes, list[Expected], object] | None = None

    def depart(self, data: bytes) -> bool:
        """Whether `data` is a known exchange: then it is recorded and on its way (`relay.flight`), and nothing of it is
        left to be done. Only asked while nothing is in flight, nothing waits, and no part of a message is held."""
        self._lesson = None
        recognised = exchange_key(data)
        if recognised is None:
            return False
        key, values = recognised
        exchange = self._known.get(key)
        relay = self._relay
        if exchange is None:
            self._lesson = (key, [], None) if len(key) <= _LONGEST_KEY else None
            return False
        state, statement, permit = relay.state, exchange.statement, exchange.permit
        prepared = exchange.prepared
        if (
            prepared.statement is not statement
            or not (exchange.parses or state.statements.get(prepared.name) is prepared)
            or not self._interpreter.settling.settled_in(statement.surroundings)
            or relay.session.scope is not exchange.scope
            or len(state.statements) + len(state.portals) >= state.capacity
        ):
            del self._known[key]
            self._lesson = (key, [], None)
            return False
        if relay.transaction.block:
            if relay.transaction.state is not TransactionState.ACTIVE:
                return False
            status = _IN_TRANSACTION
        else:
            if state.portals or relay.transaction.state is not TransactionState.IDLE:
                return False
            status = _IDLE
        parameters = _parameters(values, prepared.types, exchange.formats)
        sequence = relay.session.begin(statement.action, permit, parameters)
        if exchange.parses:
            state.statements[b""] = prepared
        relay.transaction.state = TransactionState.ACTIVE
        if exchange.injects:
            data = data[:-_END] + _DESCRIBE + data[-_END:]
        relay.depart(data, Flight(exchange, sequence, parameters, relay.generation, status))
        return True

    # --- learning ---

    def observe(self, data: bytes, sent: Sequence[bytes], batch: Sequence[Expected]) -> None:
        """The interpreter is through with a batch that was not known: `sent` is what goes to the target for it, `batch`
        what it will answer."""
        lesson, self._lesson = self._lesson, None
        if lesson is None or _form_of(batch) is None:
            return
        executed = batch[-2]
        if not isinstance(executed, Executed) or not _ordinary(executed):
            return
        forwarded = b"".join(sent)
        if forwarded in (data, data[:-_END] + _DESCRIBE + data[-_END:]):
            self._lesson = (lesson[0], list(batch), self._relay.session.scope)

    def expecting(self, queue: Sequence[Expected]) -> bool:
        """Whether the next answer is one to learn from: exactly that of the batch."""
        lesson = self._lesson
        return (
            lesson is not None
            and len(queue) == len(lesson[1]) > 0
            and all(one is other for one, other in zip(queue, lesson[1], strict=True))
        )

    def learn(self, data: bytes) -> None:
        """`data` answered the batch, all of it, and nothing went wrong."""
        lesson, self._lesson = self._lesson, None
        if lesson is None:
            return
        key, batch, scope = lesson
        executed = batch[-2]
        form = _form_of(batch)
        if form is None or not isinstance(executed, Executed):
            return
        parses, describes = form
        portal = executed.portal
        opening = _opening(data)
        if portal.prepared is None or opening is None or len(opening) > _LONGEST_OPENING:
            return
        masker, shown, columns = None, opening, -1
        injects = False
        if describes is not None:
            injects = describes.swallows
            before = 10 if parses else 5
            description = opening[before:]
            kept = opening[:before]
            if description[:1] == b"T":
                columns = int.from_bytes(description[5:7], "big")
                if executed.plan is None:
                    shown = kept if injects else opening
                else:
                    known = described(executed.plan, description, portal.asked)
                    masker = known.masker
                    shown = kept if injects else kept + (known.answer or description)
            else:
                columns = 0
                shown = kept if injects else opening
            if shown == opening:
                shown = opening
        if exchange_reply(data, opening, columns) is None:
            return
        self._known[key] = Exchange(
            parses=parses,
            describes=describes is not None,
            injects=injects,
            prepared=portal.prepared,
            statement=portal.statement,
            permit=executed.execution.permit,
            scope=scope,
            plan=executed.plan,
            asked=portal.asked,
            formats=_formats_of(portal.parameters),
            masker=masker,
            rewrites=masker is not None and not masker.identity,
            opening=opening,
            shown=shown,
            columns=columns,
        )
        if len(self._known) > _MOST_EXCHANGES:
            self._known.popitem(last=False)


def _form_of(batch: Sequence[Expected]) -> tuple[bool, DescribedPortal | None] | None:
    """Whether it parses, and its Describe: [Parse] Bind [Describe] Execute Sync, or None."""
    rest = list(batch)
    parses = bool(rest) and isinstance(rest[0], Answer) and rest[0].answers(_PARSE_COMPLETE)
    if parses:
        rest.pop(0)
    if not 3 <= len(rest) <= 4 or type(rest[-1]) is not Ready or type(rest[-2]) is not Executed:
        return None
    if not isinstance(rest[0], Answer) or not rest[0].answers(_BIND_COMPLETE):
        return None
    if len(rest) == 3:
        return parses, None
    return (parses, rest[1]) if isinstance(rest[1], DescribedPortal) else None


def _ordinary(executed: Executed) -> bool:
    """Nothing about this statement has to be looked at each time it runs."""
    statement, permit = executed.portal.statement, executed.execution.permit
    return not (
        statement.unsettling
        or statement.volatile
        or statement.transaction_control
        or statement.copies_in
        or statement.copies_out
        or statement.changes_catalog
        or any(getattr(facts, "name_changes", ()) for facts in statement.facts)
        or not statement.facts
        or executed.portal.formats != executed.portal.asked
        or permit.durable
        or permit.needs_judgement
        or permit.row_bound is not None
        or permit.approval_id is not None
        or permit.recording is RecordingLevel.RESULTS
    )


def _opening(data: bytes) -> bytes | None:
    """What stands before rows and completion in an answer: ParseComplete, BindComplete, RowDescription or NoData."""
    end = 0
    for kind, start, stop, count in message_runs(data, 0, len(data)):
        if kind not in (_PARSE_COMPLETE, _BIND_COMPLETE, _NO_DATA, _ROW_DESCRIPTION):
            return data[:start]
        if count != 1:
            return None
        end = stop
    return data[:end]


def _formats_of(parameters: Sequence[Parameter]) -> tuple[int, ...]:
    return tuple(parameter.format for parameter in parameters)


def _parameters(
    values: Sequence[bytes | None], types: tuple[int, ...], formats: tuple[int, ...]
) -> tuple[Parameter, ...]:
    """`understanding.parameters_of` for a batch whose key says that the formats are these."""
    if len(types) == len(values):
        return tuple(map(Parameter, types, formats, values))
    return tuple(
        [Parameter(types[i] if i < len(types) else 0, formats[i], value) for i, value in enumerate(values)]
    )
