"""An in-memory `Gate` with scripted verdicts, for driving a protocol without policy, approvals, journal or store.

It stands in for the real enforcement and keeps its contract: nothing is permitted that the script does not permit,
refusals are raised, records are begun before `commit`, judgements can be parked, withdrawn and decided. It writes
nothing to disk and knows no policy language; the tests of the real enforcement are elsewhere.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from taskgate.domain import (
    Action,
    Assurance,
    Credential,
    MaskRule,
    Outcome,
    Parameter,
    Principal,
    PrincipalKind,
    RecordingLevel,
    Target,
    TlsMode,
)
from taskgate.enforcement.contracts import ParkedNotice, Permit, PolicyRefusal, Waiting
from taskgate.errors import TaskgateError
from taskgate.masking.plan import UNMASKED, MaskedColumns, MaskPlan, plan
from taskgate.protocols.postgres.scram import Verifier
from taskgate.sql.catalog import Catalog

USER = "tg_test"
PASSWORD = "test-credential-password"


@dataclass
class ScriptedMasks:
    """`Masks` by exact column name, and detectors."""

    columns: Mapping[str, MaskRule] = field(default_factory=dict)
    detectors: Mapping[str, MaskRule] = field(default_factory=dict)

    def exempted(self, name: str) -> bool:
        return False

    def column(self, name: str) -> MaskRule | None:
        return self.columns.get(name)

    @property
    def empty(self) -> bool:
        return not self.columns and not self.detectors


@dataclass
class Begun:
    sequence: int
    action: Action
    permit: Permit
    parameters: tuple[Parameter, ...]
    committed: bool = False
    outcome: Outcome | None = None


class ScriptedSession:
    """Implements `GovernedSession`."""

    def __init__(self, gate: ScriptedGate, credential: Credential, number: int) -> None:
        self.gate = gate
        self.id = f"ses_{number}"
        self.principal = credential.principal
        self.target = gate.target
        self.read_only = gate.read_only
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.confined: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.begun: list[Begun] = []
        self.judged: list[Action] = []
        self.refused: list[Action] = []
        self.events: list[tuple[str, dict[str, object]]] = []
        self.recorded_rows: list[bytes] = []
        self.withdrawn = 0
        self.behind = False
        self.closed: str | None = None
        self._permits: dict[object, Permit] = {}
        self._scope: tuple[object, object] | None = None

    @property
    def catalog(self) -> Catalog:
        return self.gate.catalog

    @property
    def catalog_age(self) -> float:
        return self.gate.catalog_age

    @property
    def masked(self) -> MaskedColumns:
        return MaskedColumns(self.gate.masks, self.gate.catalog, b"key")

    @property
    def baseline(self) -> MaskPlan:
        return self.masked.baseline

    def _key(self, action: Action) -> object:
        environment = action.environment
        text = action.shape or action.text
        return text, action.parameter_types, environment.search_path, environment.role, self.gate.policy_version

    @property
    def scope(self) -> object:
        gate = self.gate
        depends = (gate.policy_version, gate.catalog, gate.masks.columns, gate.masks.detectors, gate.recording)
        if not gate.caches or self._scope is None or self._scope[0] != depends:
            self._scope = (depends, object())
        return self._scope[1]

    def cached(self, action: Action) -> Permit | None:
        if not self.gate.caches or any(facts.session_objects for facts in action.facts):
            return None
        return self._permits.get(self._key(action))

    async def judge(self, action: Action, waiting: Waiting) -> Permit:
        self.judged.append(action)
        gate = self.gate
        if gate.judge_delay:
            await asyncio.sleep(gate.judge_delay)
        reason = gate.deny(action)
        if reason is not None:
            self.refused.append(action)
            raise PolicyRefusal(f"taskgate: {reason}", detail=f"session={self.id}", hint="Ask.")
        wants_human = gate.approve(action)
        if wants_human and action.executes:
            await self._ask(action, waiting)
        masked = self.masked
        plans = tuple(plan(facts, masked) if not masked.empty else UNMASKED for facts in action.facts)
        permit = Permit(
            rules=("scripted",),
            masks=plans,
            row_bound=gate.row_bound(action),
            durable=gate.durable and action.changes,
            needs_judgement=wants_human,
            recording=gate.recording,
        )
        if not any(facts.session_objects for facts in action.facts):
            self._permits[self._key(action)] = permit
        return permit

    async def _ask(self, action: Action, waiting: Waiting) -> None:
        decided: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.gate.parked.append((action, decided))
        waiting.parked(ParkedNotice("apr_1", "http://dashboard.invalid/apr_1", ("needs-a-human",), self.gate.hold))
        try:
            async with asyncio.timeout(self.gate.hold):
                approved = await decided
        except TimeoutError:
            raise PolicyRefusal("taskgate: nobody decided", approval_id="apr_1") from None
        except asyncio.CancelledError:
            self.withdrawn += 1
            raise
        if not approved:
            raise PolicyRefusal("taskgate: approval apr_1 was denied", approval_id="apr_1")

    def begin(
        self, action: Action, permit: Permit, parameters: Sequence[Parameter] = (), *, text: str | None = None
    ) -> int:
        if text is not None:
            action = replace(action, text=text)
        self.begun.append(Begun(len(self.begun) + 1, action, permit, tuple(parameters)))
        return len(self.begun)

    def commit(self) -> None:
        if self.gate.journal_fault is not None:
            raise self.gate.journal_fault
        for begun in self.begun:
            begun.committed = True

    async def sync(self) -> None:
        await asyncio.sleep(0)
        self.commit()

    def finish(self, sequence: int, outcome: Outcome) -> None:
        begun = self.begun[sequence - 1]
        assert begun.outcome is None, "an action finishes once"
        begun.outcome = outcome

    def rows(self, sequence: int, data: bytes) -> None:
        self.recorded_rows.append(data)

    def event(self, kind: str, **fields: object) -> None:
        self.events.append((kind, fields))

    def catalog_moved(self) -> None:
        self.gate.catalog_age = math.inf

    async def catalog_changed(self) -> None:
        await self.gate.refresh()

    async def close(self, reason: str) -> None:
        if self.closed is None:
            self.closed = reason


class ScriptedGate:
    """Implements `Gate` for one target and one credential, `USER` with `PASSWORD`. Attributes may change any time."""

    def __init__(self, target: Target, secret: str) -> None:
        self.target = target
        self.secret = secret
        self.credentials = {USER: Verifier.of(PASSWORD)}
        self.catalog = Catalog(version=1)
        self.catalog_age = 0.0
        self.read_catalog: Callable[[], object] | None = None
        self.masks = ScriptedMasks()
        self.deny: Callable[[Action], str | None] = lambda action: None
        self.approve: Callable[[Action], bool] = lambda action: False
        self.row_bound: Callable[[Action], int | None] = lambda action: None
        self.durable = False
        self.caches = True
        self.policy_version = 1
        self.recording = RecordingLevel.STATEMENTS
        self.read_only = False
        self.judge_delay = 0.0
        self.hold = 30.0
        self.journal_fault: TaskgateError | None = None
        self.open_fault: TaskgateError | None = None
        self.letting_in: Callable[[ScriptedSession], Awaitable[None]] | None = None  # what the store takes, or refuses
        self.parked: list[tuple[Action, asyncio.Future[bool]]] = []
        self.sessions: list[ScriptedSession] = []
        self.options: list[Mapping[str, str]] = []
        self.failures: list[tuple[str, str]] = []
        self.malformations: list[str] = []

    async def credential(self, user: str) -> Credential | None:
        verifier = self.credentials.get(user)
        if verifier is None:
            return None
        principal = Principal(PrincipalKind.TASK, "dag.task", "test", Assurance.VERIFIED, "test")
        now = datetime.now(UTC)
        return Credential(user, principal, self.target.name, now, now + timedelta(hours=1), "test", str(verifier))

    async def open(
        self,
        credential: Credential,
        *,
        protocol: str,
        client_address: str,
        options: Mapping[str, str],
        begun: Callable[[ScriptedSession], None],
    ) -> ScriptedSession:
        if self.open_fault is not None:
            raise self.open_fault
        self.options.append(options)
        session = ScriptedSession(self, credential, len(self.sessions) + 1)
        self.sessions.append(session)
        begun(session)
        if self.letting_in is not None:
            await self.letting_in(session)
        return session

    async def target_secret(self, session: ScriptedSession) -> str:
        return self.secret

    async def refresh(self) -> None:
        """Read the catalogue again, where the test has said how."""
        if self.read_catalog is not None:
            found = await asyncio.to_thread(self.read_catalog)
            assert isinstance(found, Catalog)
            self.catalog = found

    def cancel_name(self, process: int, secret: bytes) -> str:
        return f"{process}/{secret.hex()}"

    def cancel_elsewhere(self, process: int, secret: bytes, client_address: str) -> bool:
        return False

    def on_cancel(self, called: Callable[[str], None]) -> None:
        self.called = called

    def authentication_failed(self, *, protocol: str, client_address: str, user: str, reason: str) -> None:
        self.failures.append((user, reason))

    def malformed(self, *, protocol: str, client_address: str, reason: str) -> None:
        self.malformations.append(reason)


def loopback_target(
    port: int, *, user: str = "postgres", database: str = "postgres", name: str = "orders-db"
) -> Target:
    return Target(name, "postgres", "127.0.0.1", port, database, user, "test:", tls=TlsMode.DISABLE)


def read_catalog(target: Target, secret: str) -> Catalog:
    """The real catalogue, read as the gateway reads it."""
    from taskgate.sql.catalog_reader import CatalogReader

    async def read() -> Catalog:
        reader = CatalogReader(target, secret)
        try:
            return await reader.read()
        finally:
            await reader.close()

    return asyncio.run(read())
