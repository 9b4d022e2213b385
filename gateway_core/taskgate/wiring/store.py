"""Everything of a gateway process that lives in the store."""

from __future__ import annotations

import asyncio
import time

import structlog

from taskgate import __version__
from taskgate.enforcement import store_watch
from taskgate.enforcement.live import LiveSessions
from taskgate.enforcement.store_watch import StoreWatch
from taskgate.errors import StoreFault
from taskgate.identity.api_keys import ApiKeys
from taskgate.identity.credentials import Credentials
from taskgate.identity.registered_runs import RegisteredRuns
from taskgate.settings import Settings
from taskgate.store.attempts import Attempts
from taskgate.store.database import Database
from taskgate.store.processes import GatewayProcess
from taskgate.store.retention import KeptFor, Retention
from taskgate.store.sessions import SessionIndex
from taskgate.store.signals import Signals
from taskgate.wiring.background import Background

log = structlog.get_logger(__name__)

_INDEX_INTERVAL = 5.0
_PATIENCE = 10.0


class StoreSide:
    """`start` once, after whatever wants to hear signals has subscribed; then `stop`."""

    def __init__(self, settings: Settings) -> None:
        self.database = Database(settings.store_url)
        self.process = GatewayProcess(self.database, version=__version__)
        self.signals = Signals(self.database)
        self.api_keys = ApiKeys(self.database, self.signals)
        self.credentials = Credentials(self.database, self.signals, max_ttl=settings.credentials.max_ttl)
        self.attempts = Attempts(self.database)
        self.registered_runs = RegisteredRuns(self.database)
        self.sessions = SessionIndex(self.database, self.process.id)
        kept = settings.retention
        self.retention = Retention(self.database, KeptFor(kept.sessions, kept.approvals, kept.credentials))

    async def start(self, background: Background, live: LiveSessions) -> None:
        """Returns when this process is known, hears every signal, and has closed what dead ones left open. A store of
        this process's own is migrated, a shared one has to be already."""
        if self.database.shared:
            await self.database.check_migrated()
        else:
            await self.database.migrate()
        await self.process.register()
        self.signals.when_set_back(lambda: _end_all(live, "the store was set back to an earlier state"))
        background.spawn("signals", self.signals.run())
        silent = "the gateway was silent for so long that it counted as dead"
        background.spawn("heartbeat", self.process.run(lambda: _end_all(live, silent)))
        await asyncio.wait_for(self.signals.started(), _PATIENCE)
        await self.sessions.close_abandoned()
        background.spawn("store watch", self._watch(live))
        background.spawn("session index", self._keep_index(live))
        background.spawn("retention", self.retention.run())

    async def stop(self) -> None:
        """After the last session. What cannot be told the store now, the next process finds out."""
        try:
            await self.sessions.stop()
            await self.process.stopped()
        except StoreFault as fault:
            log.warning("gateway.store_unreachable", reason=fault.message)
        await self.database.close()

    async def _watch(self, live: LiveSessions) -> None:
        """Without the store nobody can say what has been revoked."""
        watch = StoreWatch(time.monotonic())
        while True:
            await asyncio.sleep(store_watch.INTERVAL)
            if watch.lost(time.monotonic(), self.signals.last_contact):
                _end_all(live, "the store is out of reach")

    async def _keep_index(self, live: LiveSessions) -> None:
        while True:
            await asyncio.sleep(_INDEX_INTERVAL)
            try:
                for session in live:
                    await session.indexed()
                await self.sessions.close_abandoned()
            except StoreFault as fault:
                log.warning("gateway.index_behind", reason=fault.message)


def _end_all(live: LiveSessions, reason: str) -> None:
    live.end(reason, lambda session: True)
