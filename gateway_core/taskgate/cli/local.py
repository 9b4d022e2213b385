"""Commands that work on the gateway's machine, with its settings file: nothing has to run for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from taskgate.settings import Settings
    from taskgate.store.database import Database

Config = Annotated[
    Path,
    typer.Option("--config", envvar="TASKGATE_CONFIG", help="The gateway's settings file.", dir_okay=False),
]
DEFAULT_CONFIG = Path("taskgate.yaml")

T = TypeVar("T")


def load_settings(config: Path) -> Settings:
    """Raises SettingsError with every problem."""
    from taskgate.settings import Settings

    return Settings.load(config)


@asynccontextmanager
async def open_store(settings: Settings, *, migrate: bool = False) -> AsyncIterator[Database]:
    """The gateway's store, its schema checked. With `migrate` an own (SQLite) store is brought up to date first; a
    shared one never is: `taskgate db migrate` does that. Raises StoreFault."""
    from taskgate.store.database import Database

    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = Database(settings.store_url)
    try:
        if migrate and not database.shared:
            await database.migrate()
        else:
            await database.check_migrated()
        yield database
    finally:
        await database.close()


def run(work: Callable[[], Awaitable[T]]) -> T:
    async def main() -> T:
        return await work()

    return asyncio.run(main())
