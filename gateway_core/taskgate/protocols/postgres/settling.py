"""What a session's texts mean depends on settings, names and the catalogue; this keeps track of when each may move.

After an action that may have changed settings nothing that has to be analysed goes on before the target has said what
they are now: by ParameterStatus with its next ReadyForQuery, or by an answer to a question of the gateway's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskgate.domain import TransactionState
from taskgate.errors import TargetFault
from taskgate.protocols.postgres.backend import Report
from taskgate.protocols.postgres.expectations import SKIPPED, Answer, Expected, Probe, Ready
from taskgate.protocols.postgres.frontend import FLUSH, SYNC
from taskgate.protocols.postgres.needs import Blocked, Need
from taskgate.protocols.postgres.server_settings import probe
from taskgate.protocols.postgres.statements import Analyst, Statement, Surroundings
from taskgate.sql import names

if TYPE_CHECKING:
    from taskgate.protocols.postgres.relay import Relay

_FAILED = 0x45
_IDLE = 0x49
_MOST_VAIN = 3
_LOOKED = 1.0  # seconds for which a look at the catalogue counts as just had


class Settling:
    def __init__(self, relay: Relay, analyst: Analyst) -> None:
        self._relay = relay
        self._analyst = analyst
        self._surroundings: Surroundings | None = None
        self._dirty = True
        self._unsettled = False
        self._asking: Expected | None = None
        self._catalog_changed = False
        self._looking = False
        self._rolled_back = False
        self._role_touched = False
        self._ending = False  # a COMMIT or ROLLBACK is on its way
        self._vain = 0

    def start(self) -> None:
        """The path a session starts with is not reported before PostgreSQL 18."""
        if not self._relay.settings.reports_search_path:
            self._unsettled = True
            self.ask(SYNC)

    # --- surroundings ---

    def surroundings(self) -> Surroundings:
        """The present ones; the same object as long as nothing has moved."""
        catalog = self._relay.session.catalog
        known = self._surroundings
        if known is not None and not self._dirty and known.catalog is catalog:
            return known
        settings = self._relay.settings
        environment = settings.environment(catalog.version)
        self._dirty = False
        if known is None or known.catalog is not catalog or known.environment != environment:
            known = self._surroundings = self._analyst.surroundings(environment, catalog)
        return known

    def settled_in(self, surroundings: Surroundings) -> bool:
        """Whether these are the present ones beyond doubt, as long as their catalogue is: `settle` would block nothing,
        and no text means anything of this session's own."""
        return self._surroundings is surroundings and not (
            self._dirty
            or self._unsettled
            or self._catalog_changed
            or self._asking is not None
            or self._relay.names.has_objects
        )

    def moved(self) -> None:
        self._dirty = True

    def catalog_read(self) -> None:
        if self._changes_are_known:
            self._catalog_changed = False
            self._relay.names.catalog_refreshed()

    @property
    def _changes_are_known(self) -> bool:
        """Whether whoever reads the catalogue now sees what this session has done to it."""
        relay = self._relay
        return not relay.outstanding and relay.transaction.state is TransactionState.IDLE

    def look_again(self) -> None:
        """For a text with a name that nothing has: others may have made it since. Raises Blocked, unless the catalogue
        has just been looked at, or was for this very text: a look may take longer than it counts."""
        self._looking = not self._looking and self._relay.session.catalog_age > _LOOKED
        if self._looking:
            raise Blocked(Need.CATALOG)

    # --- before a message that has to be understood ---

    def settle(self) -> bool:
        """Raises Blocked while settings may be other ones than known. False: they still may be, but the transaction has
        failed, so that nothing but its end does anything."""
        relay = self._relay
        if self._catalog_changed and self._changes_are_known:
            raise Blocked(Need.CATALOG)
        if not self._unsettled:
            return True
        if self._asking is not None:
            raise relay.block_on(self._asking)
        last = relay.last
        if last is not None and last.marker:
            raise relay.block_on(last)
        if relay.transaction.state is TransactionState.FAILED and not self._ending:
            return False
        raise relay.block_on(self.ask(FLUSH))

    def ask(self, end: bytes) -> Expected:
        """Send the gateway's own question. `end`: Flush inside a batch of the client's, Sync outside."""
        inside = end == FLUSH
        entries: list[Expected] = [
            Question(self, 0x31, visible=inside), Question(self, 0x32, visible=inside), Probe(self.answered),
            Question(self, 0x33, visible=inside), Question(self, 0x33, visible=inside),
        ]  # fmt: skip
        if not inside:
            entries.append(Ready(swallow=True))
        self._asking = entries[-1]
        self._relay.send(probe() + end, *entries)
        self._relay.press()
        return entries[-1]

    def answered(self, cells: tuple[bytes | None, ...]) -> None:
        self._relay.settings.answered(cells)
        self._asking = None
        self._unsettled = self._role_touched = False
        self._vain = 0
        self._dirty = True

    def asked_in_vain(self) -> None:
        """The question failed (a statement timeout, a cancel): it is asked again at the next ReadyForQuery."""
        self._asking = None
        self._vain += 1
        if self._vain > _MOST_VAIN:
            raise TargetFault("the target's settings cannot be read")

    # --- when something has been sent or has happened ---

    def sent(self, statement: Statement) -> None:
        transaction = self._relay.transaction
        if statement.unsettling:
            self._unsettled = transaction.settings_touched = True
            self._role_touched |= statement.may_change_role
        elif statement.transaction_control and transaction.settings_touched:
            self._unsettled = True
        self._ending |= statement.transaction_control

    def stage_names(self, statement: Statement) -> tuple[int, ...]:
        """Tickets, one a statement of the text."""
        relay = self._relay
        tickets = []
        for facts in statement.facts:
            changes: tuple[names.NameChange, ...] = getattr(facts, "name_changes", ())
            for change in changes:
                self._shadow(change)
            tickets.append(relay.names.stage(changes) if changes else 0)
        return tuple(tickets)

    def _shadow(self, change: names.NameChange) -> None:
        """SQL's prepared statements and cursors share the name spaces of Parse and Bind. Whatever SQL may give a name
        to, or take it from, is not what Parse or Bind gave that name to."""
        state = self._relay.state
        match change:
            case names.Deallocated(None):
                state.statements.clear()
            case names.CursorClosed(None):
                state.portals.clear()
            case names.Prepared(name) | names.Deallocated(name):
                state.statements.pop((name or "").encode(), None)
            case names.CursorOpened(name) | names.CursorClosed(name):
                state.portals.pop((name or "").encode(), None)

    def completed(self, statement: Statement, tag: bytes) -> None:
        if statement.changes_catalog:
            self._catalog_changed = True
        if tag == b"ROLLBACK":
            self._rolled_back = True

    def ready(self, status: int, *, outstanding: bool) -> None:
        """A ReadyForQuery; `outstanding`: more has been sent behind what it answers."""
        relay = self._relay
        relay.transaction.ready(status, outstanding=outstanding)
        if status == _FAILED and relay.transaction.settings_touched:
            self._unsettled = True  # the failure has put settings back
        if status == _IDLE:
            relay.names.transaction_ended(committed=not self._rolled_back)
            self._rolled_back = False
            if self._catalog_changed:
                relay.session.catalog_moved()
        if outstanding or self._asking is not None:
            return
        self._ending = False
        if status == _IDLE:
            relay.transaction.settings_touched = False
            relay.state.portals.clear()
        if self._unsettled and status != _FAILED:
            if relay.settings.reports_search_path and not self._role_touched:
                self._unsettled = False  # everything that matters has been reported by now
            else:
                self.ask(SYNC)


class Question(Answer):
    """ParseComplete and the like of the gateway's own question. `visible`: it stands inside a batch of the client's,
    who has to learn that it failed."""

    __slots__ = ("_settling", "_visible")

    def __init__(self, settling: Settling, kind: int, *, visible: bool) -> None:
        super().__init__(kind, swallow=True)
        self._settling = settling
        self._visible = visible

    def failed(self, relay: Relay, report: Report) -> Report | None:
        self._settling.asked_in_vain()
        return relay.scrubbed(report, None) if self._visible else None

    def skipped(self, relay: Relay, why: str = SKIPPED) -> None:
        """The first entry that failed has said it already."""
