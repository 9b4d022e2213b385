"""Targets as this process sees them: their catalogue, kept fresh, and their password, fetched when needed.

The catalogue is read over a connection of its own and checked every `CHECK_INTERVAL` seconds and after DDL that went
through the gateway. A catalogue that could not be checked for `STALE_AFTER` seconds is not trusted: masks hang on it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import replace

import structlog

from taskgate.domain import Action, Target
from taskgate.errors import TargetFault, TaskgateError
from taskgate.secrets import SecretSources
from taskgate.sql import impact, search_path
from taskgate.sql.catalog import Catalog
from taskgate.sql.catalog_reader import CatalogReader

log = structlog.get_logger(__name__)

CHECK_INTERVAL = 5.0
STALE_AFTER = 30.0


class GovernedTarget:
    """One target. The catalogue is replaced as a whole whenever it changed."""

    def __init__(self, target: Target, secrets: SecretSources) -> None:
        self.target = target
        self.digest = target.digest()
        self._secrets = secrets
        self._reader: CatalogReader | None = None
        self._planner: CatalogReader | None = None
        self._catalog: Catalog | None = None
        self._checked = 0.0
        self._moved = -math.inf
        self._reading = asyncio.Lock()

    async def secret(self) -> str:
        """The target's password. Raises GatewayFault."""
        return (await self._secrets.fetch(self.target.secret)).reveal()

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
    def age(self) -> float:
        """Seconds since the catalogue was last checked; infinite when it has moved since."""
        return math.inf if self._moved >= self._checked else time.monotonic() - self._checked

    def moved(self) -> None:
        """DDL has been committed. Another session may ask for what it made before anything is checked by itself."""
        self._moved = time.monotonic()

    @property
    def fresh(self) -> bool:
        return self._catalog is not None and time.monotonic() - self._checked <= STALE_AFTER

    async def ready(self) -> Catalog:
        """The catalogue, read now if it is not there yet. Raises TargetFault."""
        if not self.fresh:
            await self.refresh()
        return self.catalog

    async def refresh(self) -> None:
        """Read the catalogue again if it changed. Raises TargetFault, GatewayFault."""
        async with self._reading:
            started = time.monotonic()
            if self._reader is None:
                reference = self.target.catalog_secret or self.target.secret
                self._reader = CatalogReader(self.target, (await self._secrets.fetch(reference)).reveal())
            try:
                if self._catalog is None or await self._reader.changed():
                    self._catalog = await self._reader.read()
                    log.info("catalog.read", target=self.target.name, version=self._catalog.version)
            except TargetFault:
                # Its password may have been rotated: the next reader fetches it anew.
                await self._reader.close()
                self._reader = None
                raise
            self._checked = started

    async def estimate(self, action: Action) -> Mapping[str, object]:
        """The planner's view of the action (`sql.impact`). Asked as the target's own user, in a read-only transaction:
        even EXPLAIN wants the privileges of what it explains, and the catalogue's user need have none. Raises
        TargetFault, GatewayFault."""
        if self._planner is None:
            as_user = replace(self.target, catalog_user=None, catalog_secret=None)
            self._planner = CatalogReader(as_user, await self.secret())
        path = search_path.parse(action.environment.search_path, action.environment.role)
        try:
            return await impact.estimate(
                self._planner, action.text, action.facts, action.parameters or (), path, self.catalog
            )
        except TargetFault:
            await self._planner.close()
            self._planner = None
            raise

    async def watch(self) -> None:
        """Keep the catalogue fresh until cancelled. A target that is away is tried again and again."""
        while True:
            try:
                await self.refresh()
            except TaskgateError as fault:
                log.warning("catalog.unreadable", target=self.target.name, reason=fault.message)
            await asyncio.sleep(CHECK_INTERVAL)

    async def close(self) -> None:
        for reader in (self._reader, self._planner):
            if reader is not None:
                await reader.close()
