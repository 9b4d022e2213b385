"""One gateway process: everything made from the settings, put together, run, and taken down in order.

`Gateway` is what the control API calls its control plane; `run` is `taskgate serve`. The parts with more to them than a
line are made in `wiring/`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from taskgate import core_dumps
from taskgate.api.app import create_app
from taskgate.api.control_plane import Check
from taskgate.api.server import ApiServer
from taskgate.approvals.airflow_answers import AirflowAnswers
from taskgate.approvals.requests import Approvals
from taskgate.domain import Target
from taskgate.enforcement.cancel_routing import CancelRouting
from taskgate.enforcement.decisions import DecisionScopes
from taskgate.enforcement.gate import TaskgateGate
from taskgate.enforcement.live import LiveSessions
from taskgate.enforcement.services import Services
from taskgate.enforcement.targets import GovernedTarget
from taskgate.errors import GatewayFault, SettingsError, TargetFault
from taskgate.identity.orchestrators.orchestrators import Orchestrators
from taskgate.logs import configure_logging
from taskgate.metrics import Metrics
from taskgate.policy.holder import PolicyHolder
from taskgate.policy.policy_set import PolicySet
from taskgate.protocols.postgres.limits import Limits
from taskgate.protocols.postgres.listener import Listener, serve
from taskgate.protocols.postgres.tls import ServerTls
from taskgate.recording.disk import Disk
from taskgate.recording.header import SessionHeader
from taskgate.recording.keys import read_or_create
from taskgate.recording.recorder import BUFFER_BYTES, Recorder
from taskgate.recording.recordings import Recordings
from taskgate.recording.retention import RecordingRetention
from taskgate.secrets import SecretSources
from taskgate.settings import PostgresSettings, Settings
from taskgate.settings_values import is_loopback
from taskgate.sql.catalog import Catalog
from taskgate.store.signals import Signal, SignalKind
from taskgate.wiring.approvals import ApprovalSide, approval_side
from taskgate.wiring.background import Background
from taskgate.wiring.live import KillableSessions
from taskgate.wiring.orchestrators import OrchestratorSide
from taskgate.wiring.store import StoreSide

log = structlog.get_logger(__name__)

SWITCH_INTERVAL = 0.001  # seconds a thread that compiles or analyses may keep the event loop from the interpreter
_FAREWELL = 5.0


class Gateway:
    """Implements `api.control_plane.ControlPlane`. `start` and `stop` once each, in one event loop."""

    approvals: Approvals  # there after `start`

    def __init__(self, settings: Settings, *, disk: Disk | None = None) -> None:
        """`disk`: what the journal writes to, for those who want to see it fail."""
        self.settings = settings
        self.metrics = Metrics()
        self.background = Background()
        data_dir = settings.data_dir
        (data_dir / "keys").mkdir(parents=True, exist_ok=True, mode=0o700)
        self.store = StoreSide(settings)
        self.api_keys = self.store.api_keys
        self.credentials = self.store.credentials
        self.sessions = self.store.sessions
        self.secrets = SecretSources()
        self.policy = PolicyHolder(settings.policy, prepare=self._keep_text)
        self.recorder = Recorder(
            data_dir,
            process_id=self.store.process.id,
            sync_interval=settings.recording.sync_interval,
            checkpoint_interval=settings.recording.checkpoint_interval,
            segment_bytes=settings.recording.segment_size,
            buffer_bytes=max(BUFFER_BYTES, 2 * settings.postgres.max_message),  # a whole message, in base64
            disk=disk,
        )
        self._live = LiveSessions()
        self.live = KillableSessions(self._live, self.store.signals)
        self._governed = {target.name: GovernedTarget(target.target(), self.secrets) for target in settings.targets}
        self._orchestrators: OrchestratorSide | None = None
        self._gate: TaskgateGate | None = None
        self._listener: Listener | None = None
        self._api: ApiServer | None = None

    # --- what the control API needs ----------------------------------------------------------------------------

    @property
    def targets(self) -> Mapping[str, Target]:
        return {name: governed.target for name, governed in self._governed.items()}

    @property
    def data_dir(self) -> Path:
        return self.settings.data_dir

    @property
    def endpoints(self) -> Mapping[str, tuple[str, int]]:
        if self._listener is None:
            return {}
        postgres = self.settings.postgres
        return {"postgres": (postgres.advertised_host or postgres.host, self._listener.port)}

    @property
    def orchestrators(self) -> Orchestrators:
        if self._orchestrators is None:
            raise GatewayFault("taskgate: the gateway has not started")
        return self._orchestrators.orchestrators

    @property
    def public_url(self) -> str:
        return self.settings.api_url

    @property
    def default_ttl(self) -> float:
        return self.settings.credentials.default_ttl

    @property
    def attempt_ttl(self) -> float:
        return self.settings.credentials.max_ttl

    @property
    def recordings(self) -> Recordings:
        return self.recorder.recordings

    def catalog(self, target: str) -> Catalog:
        governed = self._governed.get(target)
        if governed is None:
            raise TargetFault(f"There is no target {target}.")
        return governed.catalog

    async def readiness(self) -> Mapping[str, Check]:
        fresh = sum(governed.fresh for governed in self._governed.values())
        return {
            "store": _check(self.store.signals.in_contact, "out of reach"),
            "journal": _check(self.recorder.healthy, "cannot be written"),
            "policy": _check(self.policy.error is None, "the files on disk do not load; the last good set is in force"),
            "listener": _check(self._listener is not None, "not listening"),
            "targets": _check(fresh > 0, f"the catalogue of {len(self._governed) - fresh} targets cannot be read"),
        }

    def airflow_answers(self, source: str) -> AirflowAnswers | None:
        return self._orchestrators.answers.get(source) if self._orchestrators else None

    def approval_url(self, approval_id: str) -> str | None:
        return self.settings.approval_url(approval_id)

    # --- life --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Raises what keeps the gateway from running; everything that has begun is then stopped by `stop`."""
        store, background = self.store, self.background
        store.signals.subscribe(SignalKind.CREDENTIAL_REVOKED, self._credential_revoked)
        store.signals.subscribe(SignalKind.CREDENTIAL_CONFINED, self._credential_confined)
        store.signals.subscribe(SignalKind.SESSION_KILL, self._session_killed)
        await store.start(background, self._live)
        await self.recorder.start()
        self.policy.subscribe(self._take_policy)
        asking = await approval_side(self.settings, store, self.secrets, self.approval_url)
        asking.start(background)
        self.approvals = asking.approvals
        self._orchestrators = await OrchestratorSide.open(self.settings, store, self.secrets, asking.approvals)
        self._orchestrators.start(background, store.signals)
        self._gate = gate = TaskgateGate(self._services(asking), self._governed, self._live)
        background.spawn("policy", self.policy.run())
        for name, governed in self._governed.items():
            background.spawn(f"catalogue of {name}", governed.watch())
        if self.settings.retention.recordings is not None:
            kept = RecordingRetention(self.recorder, self.settings.retention.recordings)
            background.spawn("recordings that are old", kept.run())
        self._gauges()
        self._listener = await _listen(gate, self.settings.postgres)
        self._api = ApiServer(create_app(self), self.settings.api)
        await self._api.start()
        log.info("gateway.ready", api=self._api.port, postgres=self._listener.port, process=store.process.id)

    async def stop(self, reason: str = "the gateway is stopping") -> None:
        self._live.end(reason, lambda session: True)
        await self._live.none_left(_FAREWELL)
        if self._listener:
            await self._listener.close()
        if self._gate:
            self._gate.close()
        if self._api:
            self.approvals.feed.stop()
            await self._api.stop()
        await self.background.stop()
        if self._orchestrators:
            await self._orchestrators.close()
        for governed in self._governed.values():
            await governed.close()
        await self.recorder.stop(reason)
        await self.store.stop()

    def _services(self, asking: ApprovalSide) -> Services:
        hash_key = read_or_create(self.settings.data_dir / "keys" / "masking.key", os.urandom(32))
        store = self.store
        own = self.recorder.open(SessionHeader(f"own_{store.process.id}", self.policy.current.version, ""))
        services = Services(
            policy=self.policy, scopes=DecisionScopes(hash_key), parking=asking.parking,
            cancels=CancelRouting(store.signals, asking.keys.cancelling, lambda: not store.process.alone),
            recorder=self.recorder,
            own_recording=own, credentials=store.credentials, index=store.sessions, signals=store.signals,
            metrics=self.metrics,
        )  # fmt: skip
        services.keep_text(self.policy.current)
        return services

    # --- what comes to sessions from outside -----------------------------------------------------------------------

    def _keep_text(self, policy: PolicySet) -> None:
        """In the thread that loads it: then no session waits for the disk when it first decides by this policy."""
        self.recorder.policy_text(policy.version, policy.sources)

    def _take_policy(self, policy: PolicySet) -> None:
        """Sessions that may do nothing any more end. The others keep the text before they decide anything by it."""
        self._live.end(
            "policy no longer allows anything here",
            lambda session: not policy.grants_anything(session.principal, session.target),
        )

    def _credential_revoked(self, heard: Signal) -> None:
        self._live.end("the credential was revoked", lambda session: session.credential.id == heard.subject)

    def _credential_confined(self, heard: Signal) -> None:
        until = datetime.fromisoformat(heard.payload["until"])
        for session in self._live:
            if session.credential.id == heard.subject:
                session.confine(until)

    def _session_killed(self, heard: Signal) -> None:
        by = heard.payload.get("by", "an operator")
        self._live.end(f"killed by {by}", lambda session: session.id == heard.subject)

    def _gauges(self) -> None:
        self.metrics.gauge("taskgate_sessions_open", "Sessions open now.", lambda: float(len(self._live)))
        self.metrics.gauge(
            "taskgate_parked", "Actions waiting for a human now.",
            lambda: float(sum(session.parked for session in self._live)),
        )  # fmt: skip


def _check(ok: bool, reason: str) -> Check:
    return Check(True) if ok else Check(False, reason)


async def _listen(gate: TaskgateGate, settings: PostgresSettings) -> Listener:
    tls = None
    if settings.tls_cert and settings.tls_key:
        required = settings.require_tls or not is_loopback(settings.host)
        tls = ServerTls.load(settings.tls_cert, settings.tls_key, required=required)
    limits = Limits(
        message=settings.max_message, connections=settings.max_connections, startup_seconds=settings.startup_timeout
    )
    try:
        return await serve(gate, settings.host, settings.port, tls=tls, limits=limits)
    except OSError as error:
        raise SettingsError(
            f"postgres.host, postgres.port: cannot listen on {settings.host}:{settings.port}: {error.strerror}.",
            hint="Is another gateway, or PostgreSQL itself, on that port?",
        ) from None


async def _serve(settings: Settings) -> None:
    gateway = Gateway(settings)
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    loop.add_signal_handler(signal.SIGHUP, gateway.policy.hurry)
    try:
        await gateway.start()
        gc.collect()
        gc.freeze()  # what starting has left behind stays: to look through it again would hold up every session
        waiting = asyncio.create_task(told.wait())
        both: set[asyncio.Future[Any]] = {waiting, gateway.background.failed}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if gateway.background.failed.done():
            gateway.background.failed.result()
    finally:
        await gateway.stop()


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises what keeps the gateway from running."""
    configure_logging(settings.log_level, settings.log_format)
    for doubt in settings.doubts():
        log.warning("settings.unknown_variable", variable=doubt)
    if not settings.core_dumps:
        core_dumps.forbid()
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        import uvloop
    except ImportError:  # not on every platform
        asyncio.run(_serve(settings))
    else:
        uvloop.run(_serve(settings))
