"""One client connection as policy, approvals and recording see it: the implementation of `GovernedSession`."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from taskgate.domain import Action, Credential, Outcome, Pair, Parameter, Principal, RecordingLevel, Target, Verdict
from taskgate.enforcement import content
from taskgate.enforcement.contracts import Permit, Waiting, WaitMode
from taskgate.enforcement.decisions import DecisionScope, Judgement
from taskgate.enforcement.parking import Asking
from taskgate.enforcement.services import Services
from taskgate.enforcement.targets import GovernedTarget
from taskgate.errors import GatewayFault, JournalFault, PolicyRefusal, StoreFault
from taskgate.masking.plan import MaskPlan
from taskgate.policy.decision import Context
from taskgate.recording.header import SessionHeader
from taskgate.recording.records import Content, Event, RecordKind, Rows, SessionOpened, encode
from taskgate.sql.catalog import Catalog
from taskgate.store.sessions import SessionCounts

log = structlog.get_logger(__name__)

_MOST_PAIRS = 256
ATTEMPT_OVER = "the task attempt is over"


@dataclass(slots=True)
class Tally:
    """What the session has done so far, for the index of sessions."""

    actions: int = 0
    refused: int = 0
    rows: int = 0
    masked: int = 0
    pairs: set[Pair] = field(default_factory=set)

    def attempted(self, action: Action) -> None:
        if len(self.pairs) < _MOST_PAIRS:
            self.pairs.update(action.pairs)

    @property
    def counts(self) -> SessionCounts:
        return SessionCounts(self.actions, self.refused, self.rows, self.masked)


class Session:
    """Implements `enforcement.contracts.GovernedSession`. Not thread-safe; one event loop."""

    def __init__(
        self,
        session_id: str,
        credential: Credential,
        target: GovernedTarget,
        services: Services,
        *,
        protocol: str,
        client_address: str,
        options: Mapping[str, str],
        wait: WaitMode,
        on_close: Callable[[Session], None],
    ) -> None:
        self.id = session_id
        self.credential = credential
        self.protocol = protocol
        self.client_address = client_address
        self.opened_at = datetime.now(UTC)
        self.tally = Tally()
        self.parked = False
        self._target = target
        self._services = services
        self._wait = wait
        self._on_close = on_close
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._only_reads: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._expiry: asyncio.TimerHandle | None = None
        self._closed = False
        self._confined = credential.confined_until is not None
        self._started: dict[int, float] = {}
        self._run: set[Permit] = set()
        self._records_rows = False
        self._indexed = self.tally.counts, 0
        self._target_name = target.target.name
        services.keep_text(services.policy.current)
        self._scope = services.scopes.current(
            self.principal, self.target, services.policy.current, target.catalog, confined=self._confined,
            asks=self._asks,
        )  # fmt: skip
        self._contents = self._scope.contents
        self._recording = services.recorder.open(SessionHeader(session_id, self._scope.policy.version, target.digest))
        self._recording.append(RecordKind.SESSION_OPENED, self._opened(options))

    def _opened(self, options: Mapping[str, str]) -> SessionOpened:
        return SessionOpened.of(
            self.principal,
            target=self.target.name,
            protocol=self.protocol,
            client_address=self.client_address,
            credential_id=self.credential.id,
            read_only=self.read_only,
            options=options,
        )

    # --- who and what ------------------------------------------------------------------------------------------

    @property
    def principal(self) -> Principal:
        return self.credential.principal

    @property
    def target(self) -> Target:
        return self._target.target

    @property
    def _asks(self) -> bool:
        return self._wait is WaitMode.ASK

    @property
    def read_only(self) -> bool:
        return self._scope.read_only

    @property
    def catalog(self) -> Catalog:
        return self._target.catalog

    @property
    def catalog_age(self) -> float:
        return self._target.age

    @property
    def baseline(self) -> MaskPlan:
        return self._current().baseline

    @property
    def ended(self) -> asyncio.Future[str]:
        return self._ended

    @property
    def confined(self) -> asyncio.Future[str]:
        return self._only_reads

    def end(self, reason: str) -> None:
        """Ask the protocol to close both sides now."""
        if not self._ended.done():
            self._ended.set_result(reason)

    def end_at(self, when: datetime, reason: str) -> None:
        """In place of any time set before."""
        if self._expiry:
            self._expiry.cancel()
        seconds = (when - datetime.now(UTC)).total_seconds()
        self._expiry = asyncio.get_running_loop().call_later(max(0.0, seconds), self.end, reason)

    def confine(self, until: datetime) -> None:
        """The attempt is over: from now on the session may only read, and only until then."""
        if not self._confined:
            self._confined = True
            self._record(RecordKind.EVENT, Event("attempt_over", {"reads_until": until.isoformat()}))
            self._only_reads.set_result(ATTEMPT_OVER)
        self.end_at(min(until, self.credential.expires_at), ATTEMPT_OVER)

    # --- judging -----------------------------------------------------------------------------------------------

    @property
    def scope(self) -> object:
        # One of its own each time where the process stood still: what was revoked meanwhile is heard of first.
        return object() if self._services.store_lost else self._current()

    def cached(self, action: Action) -> Permit | None:
        return None if self._services.store_lost else self._current().cached(action)

    def _current(self) -> DecisionScope:
        """The scope for the policy and the catalogue in force now."""
        scope, catalog, policy = self._scope, self._target.catalog, self._services.policy.current
        if not scope.is_current(policy, catalog) or scope.confined is not self._confined:
            self._services.keep_text(policy)
            self._scope = scope = self._services.scopes.current(
                self.principal, self.target, policy, catalog, confined=self._confined, asks=self._asks
            )
            self._contents = scope.contents
            self._recording.policy_version = policy.version
        return scope

    async def judge(self, action: Action, waiting: Waiting) -> Permit:
        if self._services.store_lost and not await self._services.signals.caught_up():
            raise StoreFault("taskgate: the store is out of reach, so nobody can say what was revoked")
        if self._ended.done():
            raise GatewayFault(f"taskgate: the session is ending: {self._ended.result()}")
        scope = self._current()
        judgement: Judgement | None = None
        try:
            judgement = self._decide(scope, action, Context(client_address=self.client_address))
            if judgement.decision.wants_impact and action.executes:
                seen = {
                    name: float(number)
                    for name, number in (await self._estimate(action)).items()
                    if isinstance(number, int | float)
                }
                scope = self._current()  # while the planner was asked it may have been replaced
                judgement = self._decide(scope, action, Context(client_address=self.client_address, impact=seen))
            if not action.executes or judgement.decision.verdict is Verdict.ALLOW:
                return judgement.permit
            return await self._ask(scope, action, judgement, waiting)
        except PolicyRefusal as refusal:
            self._refuse(scope, action, judgement, refusal)
            raise

    def _decide(self, scope: DecisionScope, action: Action, context: Context) -> Judgement:
        started = time.perf_counter()
        judgement = scope.judge(action, context, self.id)
        self._services.metrics.decided(judgement.decision.verdict, time.perf_counter() - started)
        return judgement

    async def _ask(self, scope: DecisionScope, action: Action, judgement: Judgement, waiting: Waiting) -> Permit:
        if self._services.store_lost:
            raise StoreFault("taskgate: the store is out of reach, so no grant can be used and nobody can be asked")
        asking = Asking(
            self.id, self.principal, self.target, scope.policy.version, self._wait is WaitMode.HOLD, self._record_now,
            lambda: self._current() is scope, only_asks=scope.asks,
        )  # fmt: skip
        self.parked = True
        try:
            return await self._services.parking.permit(asking, action, judgement, waiting, self._estimate)
        finally:
            self.parked = False

    async def _estimate(self, action: Action) -> Mapping[str, object]:
        return await self._target.estimate(action)

    def _refuse(
        self, scope: DecisionScope, action: Action, judgement: Judgement | None, refusal: PolicyRefusal
    ) -> None:
        self.tally.refused += 1
        self.tally.attempted(action)
        kind = "pending" if refusal.pending else "approval" if refusal.approval_id else "denied"
        self._services.metrics.refused(self._target_name, kind)
        self._services.metrics.action(self._target_name, "deny", {pair.effect for pair in action.pairs})
        level = judgement.permit.recording if judgement else RecordingLevel.STATEMENTS
        masks = judgement.permit.masks if judgement else scope.cautious_masks
        self._record_now(RecordKind.REFUSED, content.refused(action, refusal, level, masks))

    # --- recording ---------------------------------------------------------------------------------------------

    def begin(
        self, action: Action, permit: Permit, parameters: Sequence[Parameter] = (), *, text: str | None = None
    ) -> int:
        what = self._contents.of(action, permit)
        if text is None and action is not what.action:
            text = action.text
        sequence = self._recording.append(RecordKind.ACTION, what.encode(parameters, text))
        self._started[sequence] = time.perf_counter()
        self.tally.actions += 1
        if permit not in self._run:
            self._run.add(permit)
            self.tally.attempted(action)
        self._services.metrics.action(self._target_name, "allow", what.effects)
        return sequence

    def commit(self) -> None:
        self._services.recorder.write()

    async def sync(self) -> None:
        await self._services.recorder.sync()

    def finish(self, sequence: int, outcome: Outcome) -> None:
        now = time.perf_counter()
        started = self._started.pop(sequence, now)
        self.tally.rows += outcome.rows
        if outcome.masked:
            self.tally.masked += sum(outcome.masked.values())
            self._services.metrics.masked(outcome.masked)
        self._record(RecordKind.RESULT, content.result(sequence, outcome, now - started))

    @property
    def behind(self) -> bool:
        return self._records_rows and self._services.recorder.behind

    def rows(self, sequence: int, data: bytes) -> None:
        self._records_rows = True
        self._record(RecordKind.ROWS, encode(Rows(sequence, base64.b64encode(data).decode())))

    def event(self, kind: str, **fields: object) -> None:
        self._record(RecordKind.EVENT, Event(kind, fields))

    def _record(self, kind: RecordKind, what: Content | bytes) -> None:
        """For what has happened already: if it cannot be recorded, nothing more may happen in this session."""
        try:
            self._recording.append(kind, what)
        except JournalFault as fault:
            self._services.metrics.fault("journal")
            self.end(f"the recording cannot be written: {fault.message}")

    def _record_now(self, kind: RecordKind, what: Content) -> None:
        """A refusal or an approval's step is on record before anybody hears of it."""
        self._recording.append(kind, what)
        self._services.recorder.write()

    # --- life --------------------------------------------------------------------------------------------------

    def catalog_moved(self) -> None:
        self._target.moved()

    async def catalog_changed(self) -> None:
        await self._target.refresh()

    async def close(self, reason: str) -> None:
        if self._closed:
            return
        self._closed = True
        if self._expiry:
            self._expiry.cancel()
        self.end(reason)
        self._recording.close(reason)
        self._on_close(self)
        self._services.index.closed(self.id, reason, self.tally.counts, self.tally.pairs)

    async def indexed(self) -> None:
        """Bring the index of sessions up to date, where anything has happened. Raises StoreFault."""
        counts, pairs = self.tally.counts, len(self.tally.pairs)
        if (counts, pairs) != self._indexed:
            await self._services.index.progress(self.id, counts, tuple(self.tally.pairs))
            self._indexed = counts, pairs
