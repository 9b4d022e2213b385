"""Exchanges that are known: a batch that the interpreter has been through before under the very circumstances of now.

A client that runs one statement again and again sends the same messages but for parameters and numbers, and gets the
same ones back but for the rows. Such a batch is recognised as a whole (`speed.exchange_key`), its action is recorded
with its own text and parameters, and it is forwarded as it stands. Its answer is recognised as a whole too
(`speed.exchange_reply`), and its rows pass through the masks that the batch was learnt with.

Nothing is decided here. An exchange is learnt (`lesson.py`) from what the interpreter and the entries did with a batch
and its answer, and serves only as long as everything they looked at is the same object as then: statement,
surroundings, permit, and the scope that the permit was had in. It serves only while nothing else is in flight, so the
batch is all there is (`Flight`). Whatever fits less than exactly, in either direction, turns the flight into the
ordinary entries first (`entries`), and goes the ordinary way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from taskgate.domain import Outcome, Parameter, TransactionState
from taskgate.enforcement.contracts import Permit
from taskgate.errors import TaskgateError
from taskgate.protocols.postgres import backend, frontend
from taskgate.protocols.postgres.expectations import Answer, Execution, Expected, Ready
from taskgate.protocols.postgres.results import DescribedPortal, Executed, Queried
from taskgate.protocols.postgres.session_state import Portal, Prepared
from taskgate.protocols.postgres.statements import Statement
from taskgate.speed import exchange_key, exchange_reply

if TYPE_CHECKING:
    from taskgate.masking.plan import MaskPlan
    from taskgate.protocols.postgres.interpret import Interpreter
    from taskgate.protocols.postgres.relay import Relay
    from taskgate.protocols.postgres.rows import ResultMasker

_MOST_EXCHANGES = 64  # a session
_LONGEST_KEY = 2048
_UNNAMED_PORTAL = (b"P", b"")
_PARSE_COMPLETE, _BIND_COMPLETE = 0x31, 0x32
_IDLE, _IN_TRANSACTION = 0x49, 0x54
_NO_MASKS: dict[str, int] = {}

UNNAMED_STATEMENT = (b"S", b"")
DESCRIBE = frontend.describe(b"P", b"")
END = 15  # bytes of Execute and Sync: before them stands a Describe of the gateway's own


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """The messages of a batch in the extended protocol."""

    prepared: Prepared
    parses: bool  # it is the unnamed statement, and parsed first
    describes: bool
    injects: bool  # the Describe is the gateway's
    parameter_formats: tuple[int, ...]  # one a parameter


@dataclass(frozen=True, slots=True, eq=False)
class Exchange:
    """One that is known. `opening` is what the target's answer begins with, `shown` what the client gets for it."""

    steps: Steps | None  # None: a Query
    statement: Statement
    text: bytes | None  # a Query that is known with these very numbers only
    permit: Permit
    scope: object  # of the session, when the permit was had
    plan: MaskPlan | None
    masker: ResultMasker | None
    rewrites: bool  # the masker has something to do with rows
    formats: tuple[int, ...]  # of the result
    opening: bytes
    shown: bytes
    columns: int  # of the rows; -1: they are not described
    rowless: bool  # the target said that there are none


class Flight:
    """A known exchange on its way: the only thing that is."""

    __slots__ = ("exchange", "generation", "parameters", "sequence", "status")

    def __init__(
        self, exchange: Exchange, sequence: int, parameters: tuple[Parameter, ...], generation: int, status: int
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
        if status != self.status or (rows and exchange.rowless):
            return None
        start = len(exchange.opening)
        size, masked = end - start, _NO_MASKS
        if rows and exchange.rewrites and exchange.masker is not None:
            rewriter = exchange.masker.rewriter(exchange.formats)
            rewritten = rewriter.rewrite(data[start:end])
            masked, size = rewriter.counts, len(rewritten)
            data = b"".join((exchange.shown, rewritten, data[end:]))
        elif exchange.shown is not exchange.opening:
            data = exchange.shown + data[start:]
        name, changed = _read(tag)
        relay.session.finish(self.sequence, Outcome(name, changed or rows, size, masked))
        if status == _IDLE:
            relay.transaction.state = TransactionState.IDLE
        elif exchange.steps is not None:
            relay.state.portals[b""] = self._portal(exchange.steps)
        return data

    def _portal(self, steps: Steps) -> Portal:
        """The unnamed portal, which outlives its batch inside a transaction."""
        exchange = self.exchange
        portal = Portal(b"", exchange.statement, exchange.permit, steps.prepared, self.parameters)
        portal.asked = portal.formats = exchange.formats
        portal.masker = exchange.masker
        portal.described = steps.describes
        portal.started = True
        return portal

    def entries(self, relay: Relay) -> list[Expected]:
        """The ordinary entries for the same batch, its names put into the session's state."""
        exchange, state = self.exchange, relay.state
        steps = exchange.steps
        execution = Execution(relay.session, exchange.permit, self.sequence)
        if steps is None:
            return [Queried(exchange.statement, exchange.permit.masks, execution, (0,))]
        found: list[Expected] = []
        if steps.parses:
            parsed = Answer(_PARSE_COMPLETE, undo=state.put_statement(steps.prepared), name=UNNAMED_STATEMENT)
            state.pending[UNNAMED_STATEMENT] = (parsed, self.generation)
            found.append(parsed)
        portal = self._portal(steps)
        portal.masker = None  # until it is described
        bound = Answer(_BIND_COMPLETE, undo=state.put_portal(portal), name=_UNNAMED_PORTAL)
        state.pending[_UNNAMED_PORTAL] = (bound, self.generation)
        found.append(bound)
        if steps.describes:
            found.append(DescribedPortal(portal, exchange.plan, swallow=steps.injects))
        found.append(Executed(portal, exchange.plan, execution, ()))
        found.append(Ready())
        return found


class KnownExchanges:
    """Those of one session; the least recently learnt goes first."""

    def __init__(self, relay: Relay, interpreter: Interpreter) -> None:
        self._relay = relay
        self._interpreter = interpreter
        self._known: OrderedDict[bytes, Exchange] = OrderedDict()
        self.unknown: bytes | None = None  # the key of the batch that was asked about last, where it can be learnt

    def learnt(self, key: bytes, exchange: Exchange) -> None:
        self._known[key] = exchange
        if len(self._known) > _MOST_EXCHANGES:
            self._known.popitem(last=False)

    def depart(self, data: bytes) -> bool:
        """Whether `data` is a known exchange: then it is recorded and on its way (`relay.flight`), and nothing of it is
        left to be done. Only asked while nothing is in flight, nothing waits, and no part of a message is held."""
        self.unknown = None
        recognised = exchange_key(data)
        if recognised is None:
            return False
        key, values = recognised
        exchange = self._known.get(key)
        if exchange is None:
            self.unknown = key if len(key) <= _LONGEST_KEY else None
            return False
        relay, statement, steps = self._relay, exchange.statement, exchange.steps
        state = relay.state
        if not (
            self._interpreter.settling.settled_in(statement.surroundings)
            and relay.session.scope is exchange.scope
            and (steps is None or self._holds(steps, statement))
            and (exchange.text is None or exchange.text == data)
        ):
            del self._known[key]
            self.unknown = key
            return False
        status = _IN_TRANSACTION if relay.transaction.block else _IDLE
        if relay.transaction.state is not (
            TransactionState.ACTIVE if relay.transaction.block else TransactionState.IDLE
        ) or (state.portals and not relay.transaction.block):
            return False
        parameters: tuple[Parameter, ...] = ()
        if steps is None:
            text = None if exchange.text is not None else data[5:-1].decode()
        else:
            text, parameters = None, _parameters(values, steps.prepared.types, steps.parameter_formats)
        try:
            sequence = relay.session.begin(statement.action, exchange.permit, parameters, text=text)
        except TaskgateError:
            return False  # the interpreter refuses it, if it still cannot be recorded
        if steps is None:
            state.statements.pop(b"", None)
            state.portals.pop(b"", None)
        else:
            if steps.parses:
                state.statements[b""] = steps.prepared
                steps.prepared.forget_description()
            if steps.injects:
                data = data[:-END] + DESCRIBE + data[-END:]
        relay.transaction.state = TransactionState.ACTIVE
        relay.depart(data, Flight(exchange, sequence, parameters, relay.generation, status))
        return True

    def _holds(self, steps: Steps, statement: Statement) -> bool:
        """Whether the batch's name still means its statement, and there is room for a portal."""
        state, prepared = self._relay.state, steps.prepared
        return (
            prepared.statement is statement
            and (state.statements.get(prepared.name) is prepared or (steps.parses and not prepared.name))
            and len(state.statements) + len(state.portals) < state.capacity
        )


@lru_cache(maxsize=256)
def _read(tag: bytes) -> tuple[str, int]:
    """A command tag as text, and the rows it tells of."""
    return tag.decode("utf-8", "replace"), backend.rows_of(tag)


def _parameters(
    values: Sequence[bytes | None], types: tuple[int, ...], formats: tuple[int, ...]
) -> tuple[Parameter, ...]:
    """`understanding.parameters_of` for a batch whose key says that the formats are these."""
    if len(types) == len(values):
        return tuple(map(Parameter, types, formats, values))
    return tuple([Parameter(types[i] if i < len(types) else 0, formats[i], value) for i, value in enumerate(values)])
