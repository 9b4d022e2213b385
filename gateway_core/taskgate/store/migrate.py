"""The schema's versions, as Alembic keeps them. The scripts are part of the package and work where it is installed."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from taskgate.errors import StoreFault

# Any fixed number: whoever migrates the same PostgreSQL store at the same time waits for this advisory lock.
_LOCK = 0x7461736B67617465  # "taskgate"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def head() -> str:
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def current(connection: Connection) -> str | None:
    """The store's revision; None where it has no schema yet."""
    return MigrationContext.configure(connection).get_current_revision()


def is_known(revision: str) -> bool:
    """Whether this version has the scripts that lead to `revision`; if not, a newer one has migrated the store."""
    return any(script.revision == revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def newer(revision: str) -> StoreFault:
    return StoreFault(
        f"The store's schema is {revision}: a newer version of the gateway has migrated it. This one needs {head()}.",
        hint="Run the newer version; or put the backup from before its migration back to return to this one.",
    )


def upgrade(connection: Connection) -> None:
    """Within the caller's transaction: an interrupted migration leaves the schema as it was. Raises StoreFault where
    the schema is a newer version's, which is left alone."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    found = current(connection)
    if found is not None and not is_known(found):
        raise newer(found)
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
