"""Targets as this process sees them: their catalogue, kept fresh, and their password, fetched when needed.

The catalogue is read over a connection of its own and checked every `CHECK_INTERVAL` seconds and after DDL that went
through the gateway. A catalogue that could not be checked for `STALE_AFTER` seconds is not trusted: masks hang on it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

import structlog

from taskgate.domain import Action, Target
from taskgate.errors import TargetFault, TaskgateError
from taskgate.secrets import SecretSources
from taskgate.sql.catalog import Catalog
from taskgate.sql.catalog_reader import CatalogReader

log = structlog.get_logger(__name__)

CHECK_INTERVAL = 5.0
STALE_AFTER = 30.0


class GovernedTarget:
    """One target. `on_change` is called with the new catalogue whenever it was replaced."""

    def __init__(self, target: Target, secrets: SecretSources) -> None:
        self.target = target
        self._secrets = secrets
        self._reader = CatalogReader(target, self._catalog_secret)
        self._catalog: Catalog | None = None
        self._checked = 0.0
        self._reading = asyncio.Lock()
        self.on_change: Callable[[Catalog], None] | None = None

    async def secret(self) -> str:
        """The target's password. Raises GatewayFault."""
        return (await self._secrets.fetch(self.target.secret)).reveal()

    async def _catalog_secret(self) -> str:
        reference = self.target.catalog_secret or self.target.secret
        return (await self._secrets.fetch(reference)).reveal()

    @property
    def catalog(self) -> Catalog:
        """As last read. Raises TargetFault when it was never read or could not be checked for too long."""
        if self._catalog is None or time.monotonic() - self._checked > STALE_AFTER:
            raise TargetFault(
                f"taskgate: the catalogue of target {self.target.name} cannot be read",
                hint="`taskgate target test` shows why; without it masks cannot be applied.",
            )
        return self._catalog

    @property
    def fresh(self) -> bool:
        return self._catalog is not None and time.monotonic() - self._checked <= STALE_AFTER

    async def ready(self) -> Catalog:
        """The catalogue, read now if it is not there yet. Raises TargetFault."""
        if not self.fresh:
            await self.refresh(force=self._catalog is None)
        return self.catalog

    async def refresh(self, *, force: bool = False) -> None:
        """Read the catalogue again if it changed (or `force`). Raises TargetFault."""
        async with self._reading:
            started = time.monotonic()
            if self._catalog is None or force or await self._reader.changed():
                self._catalog = await self._reader.read()
                log.info("catalog.read", target=self.target.name, version=self._catalog.version)
                if self.on_change:
                    self.on_change(self._catalog)
            self._checked = started

    async def estimate(self, action: Action) -> Mapping[str, object]:
        """The planner's view of the action, over the catalogue's connection. Raises TargetFault."""
        return await self._reader.estimate(action)

    async def watch(self) -> None:
        """Keep the catalogue fresh until cancelled. A target that is away is tried again and again."""
        while True:
            try:
                await self.refresh()
            except TaskgateError as fault:
                log.warning("catalog.unreadable", target=self.target.name, reason=fault.message)
            await asyncio.sleep(CHECK_INTERVAL)

    async def close(self) -> None:
        await self._reader.close()
