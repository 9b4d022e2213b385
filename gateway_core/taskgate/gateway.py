"""One gateway process: everything made from the settings, put together, run, and taken down in order.

`Gateway` is what the control API calls its control plane; `run` is `taskgate serve`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from taskgate import __version__
from taskgate.api.app import create_app
from taskgate.api.control_plane import Check, LiveSession
from taskgate.api.server import ApiServer
from taskgate.approvals.digest import ActionDigest
from taskgate.approvals.keys import ApprovalKeys
from taskgate.approvals.notifiers.notifier import Notifier, notifier_class
from taskgate.approvals.notifiers.outbox import Outbox
from taskgate.approvals.notifiers.webhook import WebhookNotifier
from taskgate.approvals.requests import Approvals
from taskgate.approvals.sealing import ParameterSeal
from taskgate.domain import Target
from taskgate.enforcement import store_watch
from taskgate.enforcement.decisions import DecisionScopes
from taskgate.enforcement.gate import TaskgateGate
from taskgate.enforcement.live import LiveSessions
from taskgate.enforcement.parking import Parking
from taskgate.enforcement.services import Services
from taskgate.enforcement.store_watch import StoreWatch
from taskgate.enforcement.targets import GovernedTarget
from taskgate.errors import StoreFault, TargetFault
from taskgate.identity.api_keys import ApiKeys
from taskgate.identity.credentials import Credentials
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
from taskgate.secrets import SecretSources
from taskgate.settings import PostgresSettings, Settings, is_loopback
from taskgate.sql.catalog import Catalog
from taskgate.store.cancels import CancelRequests
from taskgate.store.database import Database
from taskgate.store.processes import GatewayProcess
from taskgate.store.sessions import SessionIndex
from taskgate.store.signals import Signal, SignalKind, Signals

log = structlog.get_logger(__name__)

_INDEX_INTERVAL = 5.0
_FAREWELL = 5.0
SWITCH_INTERVAL = 0.001  # seconds a thread that compiles or analyses may keep the event loop from the interpreter
_PRUNE_INTERVAL = 86_400.0


class KillableSessions:
    """The control API's view of live sessions: this process's list, and a signal that reaches every process."""

    def __init__(self, live: LiveSessions, signals: Signals) -> None:
        self._live = live
        self._signals = signals

    def list(self) -> Sequence[LiveSession]:
        return [
            LiveSession(
                id=session.id,
                principal=session.principal,
                target=session.target.name,
                protocol=session.protocol,
                client_address=session.client_address,
                opened_at=session.opened_at,
                actions=session.tally.actions,
                parked=session.parked,
            )
            for session in self._live
        ]

    async def kill(self, session_id: str, by: str, reason: str) -> None:
        await self._signals.send(SignalKind.SESSION_KILL, session_id, {"by": by, "reason": reason})


class Gateway:
    """Implements `api.control_plane.ControlPlane`. `start` and `stop` once each, in one event loop."""

    def __init__(self, settings: Settings, *, disk: Disk | None = None) -> None:
        """`disk`: what the journal writes to, for those who want to see it fail."""
        self.settings = settings
        self.metrics = Metrics()
        self._background: set[asyncio.Task[None]] = set()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        data_dir = settings.data_dir
        (data_dir / "keys").mkdir(parents=True, exist_ok=True, mode=0o700)
        self.database = Database(settings.store_url)
        self.process = GatewayProcess(self.database, version=__version__)
        self.signals = Signals(self.database)
        self.cancels = CancelRequests(self.process, self.signals)
        self.api_keys = ApiKeys(self.database, self.signals)
        self.credentials = Credentials(self.database, self.signals, max_ttl=settings.credentials.max_ttl)
        self.sessions = SessionIndex(self.database, self.process.id)
        self.secrets = SecretSources()
        self.policy = PolicyHolder(settings.policy)
        self.recorder = Recorder(
            data_dir,
            process_id=self.process.id,
            sync_interval=settings.recording.sync_interval,
            checkpoint_interval=settings.recording.checkpoint_interval,
            segment_bytes=settings.recording.segment_size,
            buffer_bytes=max(BUFFER_BYTES, 2 * settings.postgres.max_message),  # a whole message, in base64
            disk=disk,
        )
        self._live = LiveSessions()
        self.live = KillableSessions(self._live, self.signals)
        self._governed = {target.name: GovernedTarget(target.target(), self.secrets) for target in settings.targets}
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
    def public_url(self) -> str:
        return self.settings.public_url.rstrip("/")

    @property
    def people_url(self) -> str:
        return self.settings.people_url

    @property
    def default_ttl(self) -> float:
        return self.settings.credentials.default_ttl

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
            "store": _check(self.signals.in_contact, "out of reach"),
            "journal": _check(self.recorder.healthy, "cannot be written"),
            "policy": _check(self.policy.error is None, "the files on disk do not load; the last good set is in force"),
            "listener": _check(self._listener is not None, "not listening"),
            "targets": _check(fresh > 0, f"the catalogue of {len(self._governed) - fresh} targets cannot be read"),
        }

    def approval_url(self, approval_id: str) -> str:
        return f"{self.people_url}/approvals?id={approval_id}"

    # --- life --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Raises what keeps the gateway from running; everything that has begun is then stopped by `stop`."""
        await self._start_store()
        await self.recorder.start()
        self.policy.subscribe(self._take_policy)
        approvals = await self._start_approvals()
        services = self._services(approvals)
        gate = TaskgateGate(services, self._governed, self._live)
        self._spawn("policy", self.policy.run())
        self._spawn("store watch", self._watch_store())
        self._spawn("session index", self._keep_index())
        for name, governed in self._governed.items():
            self._spawn(f"catalogue of {name}", governed.watch())
        self._gauges()
        self._listener = await _listen(gate, self.settings.postgres, self.process.number, self.cancels)
        self.cancels.deliver = self._listener.cancel
        self._spawn("cancel requests", self.cancels.run())
        self._api = ApiServer(create_app(self), self.settings.api)
        await self._api.start()
        log.info("gateway.ready", api=self._api.port, postgres=self._listener.port, process=self.process.id)

    async def stop(self, reason: str = "the gateway is stopping") -> None:
        self._live.end(reason, lambda session: True)
        await self._live.none_left(_FAREWELL)
        if self._listener:
            await self._listener.close()
        if self._api:
            await self._api.stop()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        for governed in self._governed.values():
            await governed.close()
        await self.recorder.stop(reason)
        try:
            await self.sessions.stop()
            await self.process.stopped()
        except StoreFault as fault:
            log.warning("gateway.store_unreachable", reason=fault.message)
        await self.database.close()

    async def _start_store(self) -> None:
        if self.database.shared:
            await self.database.check_migrated()
        else:
            await self.database.migrate()
        await self.process.register()
        self.signals.subscribe(SignalKind.CREDENTIAL_REVOKED, self._credential_revoked)
        self.signals.subscribe(SignalKind.SESSION_KILL, self._session_killed)
        self._spawn("signals", self.signals.run())
        self._spawn("heartbeat", self.process.run())
        await asyncio.wait_for(self.signals.started(), 10)
        await self.sessions.close_abandoned()

    async def _start_approvals(self) -> Approvals:
        notifiers: list[Notifier] = [
            WebhookNotifier(webhook.name, webhook.url, await self.secrets.fetch(webhook.secret))
            for webhook in self.settings.approvals.webhooks
        ]
        for other in self.settings.approvals.notifiers:
            notifiers.append(notifier_class(other.kind)(name=other.name, **other.options))
        outbox = Outbox(self.database, notifiers, self.approval_url)
        self._keys = ApprovalKeys.at(self.settings.data_dir / "keys" / "approvals.key")
        self.approvals = Approvals(
            self.database, self.signals, self.api_keys, ParameterSeal(self._keys.sealing), outbox
        )
        self._spawn("approvals", self.approvals.run())
        if notifiers:
            self._spawn("notifiers", outbox.run())
            self._spawn("old notifications", _prune(outbox))
        return self.approvals

    def _services(self, approvals: Approvals) -> Services:
        hash_key = read_or_create(self.settings.data_dir / "keys" / "masking.key", os.urandom(32))
        parking = Parking(
            approvals, ActionDigest(self._keys.digest), self.approval_url, self.settings.approvals.max_parked_per_target
        )
        own = self.recorder.open(SessionHeader(f"own_{self.process.id}", self.policy.current.version, ""))
        services = Services(
            policy=self.policy, scopes=DecisionScopes(hash_key), parking=parking, recorder=self.recorder,
            own_recording=own, credentials=self.credentials, index=self.sessions, signals=self.signals,
            metrics=self.metrics,
        )  # fmt: skip
        services.keep_text(self.policy.current)
        return services

    # --- what goes on beside the sessions ----------------------------------------------------------------------

    def _spawn(self, name: str, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """None of the background tasks may end while the gateway runs: half a gateway is not let run on."""
        self._background.discard(task)
        if task.cancelled() or self.failed.done():
            return
        error = task.exception() or RuntimeError("ended")
        log.error("gateway.background_failed", task=task.get_name(), error=type(error).__name__, exc_info=error)
        self.failed.set_exception(RuntimeError(f"{task.get_name()} failed"))

    def _take_policy(self, policy: PolicySet) -> None:
        """Sessions that may do nothing any more end. The others keep the text before they decide anything by it."""
        self._live.end(
            "policy no longer allows anything here",
            lambda session: not policy.grants_anything(session.principal, session.target),
        )

    def _credential_revoked(self, heard: Signal) -> None:
        self._live.end("the credential was revoked", lambda session: session.credential.id == heard.subject)

    def _session_killed(self, heard: Signal) -> None:
        by = heard.payload.get("by", "an operator")
        self._live.end(f"killed by {by}", lambda session: session.id == heard.subject)

    async def _watch_store(self) -> None:
        watch = StoreWatch(time.monotonic())
        while True:
            await asyncio.sleep(store_watch.INTERVAL)
            if watch.lost(time.monotonic(), self.signals.last_contact):
                self._live.end("the store is out of reach", lambda session: True)

    async def _keep_index(self) -> None:
        while True:
            await asyncio.sleep(_INDEX_INTERVAL)
            try:
                for session in self._live:
                    await session.indexed()
                await self.sessions.close_abandoned()
            except StoreFault as fault:
                log.warning("gateway.index_behind", reason=fault.message)

    def _gauges(self) -> None:
        self.metrics.gauge("taskgate_sessions_open", "Sessions open now.", lambda: float(len(self._live)))
        self.metrics.gauge(
            "taskgate_parked", "Actions waiting for a human now.",
            lambda: float(sum(session.parked for session in self._live)),
        )  # fmt: skip


def _check(ok: bool, reason: str) -> Check:
    return Check(True) if ok else Check(False, reason)


async def _prune(outbox: Outbox) -> None:
    """Forget old notifications, once a day."""
    while True:
        try:
            await outbox.prune()
        except StoreFault as fault:
            log.warning("notifications.not_pruned", reason=fault.message)
        await asyncio.sleep(_PRUNE_INTERVAL)


async def _listen(gate: TaskgateGate, settings: PostgresSettings, number: int, elsewhere: CancelRequests) -> Listener:
    tls = None
    if settings.tls_cert and settings.tls_key:
        required = settings.require_tls or not is_loopback(settings.host)
        tls = ServerTls.load(settings.tls_cert, settings.tls_key, required=required)
    limits = Limits(
        message=settings.max_message, connections=settings.max_connections, startup_seconds=settings.startup_timeout
    )
    return await serve(gate, settings.host, settings.port, tls=tls, limits=limits, owner=number, elsewhere=elsewhere)


async def _serve(settings: Settings) -> None:
    gateway = Gateway(settings)
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    loop.add_signal_handler(signal.SIGHUP, gateway.policy.reload_soon)
    try:
        await gateway.start()
        waiting = asyncio.create_task(told.wait())
        both: set[asyncio.Future[Any]] = {waiting, gateway.failed}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if gateway.failed.done():
            gateway.failed.result()
    finally:
        await gateway.stop()


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises what keeps the gateway from running."""
    configure_logging(settings.log_level, settings.log_format)
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        import uvloop
    except ImportError:  # not on every platform
        asyncio.run(_serve(settings))
    else:
        uvloop.run(_serve(settings))
