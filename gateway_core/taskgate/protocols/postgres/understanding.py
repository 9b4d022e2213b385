"""What it takes to know what a client's message is about: its statement analysed, its names looked up, its permit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from taskgate.domain import Action, Parameter
from taskgate.enforcement.contracts import Permit
from taskgate.errors import ClientFault
from taskgate.protocols.postgres import frontend, refusals
from taskgate.protocols.postgres.expectations import Execution
from taskgate.protocols.postgres.needs import Blocked, Need
from taskgate.protocols.postgres.refusals import refuse
from taskgate.protocols.postgres.session_state import Portal, Prepared
from taskgate.protocols.postgres.settling import Settling
from taskgate.protocols.postgres.statements import Analyst, LongAnalysis, Statement, Surroundings

if TYPE_CHECKING:
    from taskgate.masking.plan import MaskPlan
    from taskgate.protocols.postgres.relay import Relay

IN_PLACE = 4 << 10  # bytes of text whose analysis holds up nobody

_NOTHING = Permit(rules=(), masks=())  # of a portal that has not been judged yet
Handler = Callable[[bytes, int, int], None]


class Understanding:
    """Base of the interpreter: the lookups that handlers are made of."""

    def __init__(self, relay: Relay, analyst: Analyst) -> None:
        self._relay = relay
        self._session = relay.session
        self._analyst = analyst
        self.settling = Settling(relay, analyst)
        self._target = relay.session.target.name

    def _analysed(self, raw: bytes, types: tuple[int, ...]) -> Statement:
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = raw[error.start]
            raise refuse("22021", f'invalid byte sequence for encoding "UTF8": 0x{byte:02x}') from None
        settled = self.settling.settle()
        surroundings = self.settling.surroundings()
        try:
            if len(raw) > IN_PLACE:
                statement = self._long(text, types, surroundings)
            else:
                statement = self._analyst.statement(text, types, surroundings, self._relay.names, self._target)
        except ClientFault as fault:
            raise refusals.Refused(refusals.answer_for(fault)) from None
        if statement.action.missing is not None:
            self.settling.look_again()
        if not settled and len(statement.facts) > 1:
            raise refuse("25P02", "taskgate: one statement at a time until the failed transaction has ended")
        return statement

    def _long(self, text: str, types: tuple[int, ...], surroundings: Surroundings) -> Statement:
        """A long text is analysed beside the event loop; this session's client waits, nobody else does."""
        relay = self._relay
        known = self._analyst.known(text, types, surroundings, relay.names, self._target)
        if known is not None:
            return known
        analysis = relay.analysis
        if analysis is None or not analysis.of(text, types, surroundings):
            # A copy: what the target answers meanwhile changes this session's names.
            names = relay.names.including(())
            relay.analysis = LongAnalysis(self._analyst, text, types, surroundings, names)
            raise Blocked(Need.ANALYSIS)
        return analysis.result()

    def _current(self, prepared: Prepared) -> Statement:
        """The statement as it is meant now: the target analyses a prepared text again when search_path, the catalogue
        or the session's own objects have changed."""
        self.settling.settle()
        statement = prepared.statement
        if (
            statement.volatile
            or statement.surroundings is not self.settling.surroundings()
            or self._relay.names.has_objects
        ):
            statement = prepared.statement = self._analysed(prepared.text.encode(), prepared.types)
        return statement

    def _permit(self, action: Action, parameters: tuple[Parameter, ...] = ()) -> Permit:
        verdict = self._relay.verdict
        if verdict is not None:
            if isinstance(verdict, Exception):
                raise verdict
            return verdict
        permit = self._session.cached(action)
        if permit is not None and not (permit.needs_judgement and action.executes):
            return permit
        if action.executes:
            state = self._relay.transaction.state
            action = dataclasses.replace(action, parameters=parameters, transaction=state)
        self._relay.action = action
        raise Blocked(Need.JUDGEMENT)

    def _begin(
        self, statement: Statement, permit: Permit, parameters: tuple[Parameter, ...]
    ) -> tuple[Execution, tuple[int, ...]]:
        """The action's record, and everything that changes because it is about to be sent."""
        relay = self._relay
        if statement.copies_out and permit.masked:
            insist_on_masks(statement, permit)
        sequence = self._session.begin(statement.action, permit, parameters)
        relay.begun(durable=permit.durable)
        relay.transaction.sent(begins=statement.begins, may_change=permit.may_change)
        self.settling.sent(statement)
        return Execution(self._session, permit, sequence), self.settling.stage_names(statement)

    def _prepared(self, name: bytes) -> Prepared:
        self._relay.certain((b"S", name))
        prepared = self._relay.state.statements.get(name)
        if prepared is None:
            shown = name.decode("utf-8", "replace")
            what = f'prepared statement "{shown}"' if name else "unnamed prepared statement"
            raise refuse("26000", f"{what} does not exist")
        return prepared

    def _portal(self, name: bytes) -> Portal:
        self._relay.certain((b"P", name))
        portal = self._relay.state.portals.get(name)
        if portal is not None:
            return portal
        shown = name.decode("utf-8", "replace")
        if not name or not self._relay.names.cursors(shown):
            raise refuse("34000", f'portal "{shown}" does not exist')
        # A cursor that SQL declared: to execute it is to fetch from it.
        quoted = shown.replace('"', '""')
        statement = self._analysed(f'FETCH ALL FROM "{quoted}"'.encode(), ())
        return Portal(name, statement, _NOTHING, None)


def only(permit: Permit) -> MaskPlan | None:
    """The mask plan of the one statement a Parse can hold; None where there is nothing to mask."""
    return permit.masks[0] if permit.masks and permit.masks[0].active else None


def parameters_of(message: frontend.Bind, types: tuple[int, ...]) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(types[i] if i < len(types) else 0, message.parameter_format(i), value)
        for i, value in enumerate(message.parameters)
    )


def insist_on_masks(statement: Statement, permit: Permit) -> None:
    """A COPY TO whose rows have to be masked comes in a format that can be."""
    try:
        formats = statement.copy_outs
    except ClientFault as fault:
        raise refusals.Refused(refusals.answer_for(fault)) from None
    for facts, plan, copy_out in zip(statement.facts, permit.masks, formats, strict=True):
        if copy_out is not None and plan.active and not copy_out.can_be_masked(plan, facts):
            raise refuse(
                "42501",
                "taskgate: binary COPY is refused where values are masked",
                hint="Use the text or CSV format.",
            )


def changed() -> refusals.Refused:
    return refuse(
        "0A000",
        "cached plan must not change result type",
        detail="taskgate: the masks of this statement have changed since it was described.",
        hint="Prepare it again.",
    )


def same_masks(one: MaskPlan | None, other: MaskPlan | None) -> bool:
    """Whether two plans do the same to a result."""
    if one is None or other is None or one is other:
        return one is other
    return (one.positions, one.origins, one.detectors, one.whole) == (
        other.positions, other.origins, other.detectors, other.whole,
    )  # fmt: skip
