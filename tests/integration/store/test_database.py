from __future__ import annotations

import asyncio
import secrets
import sqlite3
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import IntegrityError

from taskgate.demo.postgres_server import PostgresServer
from taskgate.errors import StoreFault
from taskgate.store import migrate
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.tables import metadata, person_aliases
from tests.integration.store.databases import execute
from tests.servers.certificates import TlsFront, certificate


async def test_migrated_schema_is_exactly_the_tables(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    await database.check_migrated()
    async with database.statement() as connection:
        assert await connection.run_sync(differences) == []


async def test_concurrent_migrations_all_succeed(tmp_path: Path, postgres18: PostgresServer) -> None:
    async with _EmptyPostgres(postgres18) as url:
        for store in (f"sqlite:///{tmp_path / 'new.sqlite'}", url):
            databases = [Database(store) for _ in range(4)]
            await asyncio.gather(*(database.migrate() for database in databases))
            for database in databases:
                await database.check_migrated()
                await database.close()


async def test_a_new_file_is_opened_by_many_at_once(tmp_path: Path) -> None:
    for number in range(10):
        databases = [Database(f"sqlite:///{tmp_path / f'{number}.sqlite'}") for _ in range(4)]
        await asyncio.gather(*(database.migrate() for database in databases))
        for database in databases:
            await database.close()


async def test_a_migration_waits_for_whoever_is_migrating_already(tmp_path: Path) -> None:
    path = tmp_path / "busy.sqlite"
    database = Database(f"sqlite:///{path}", timeout=0.2)
    with sqlite3.connect(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        migrating = asyncio.create_task(database.migrate())
        await asyncio.sleep(0.8)
        assert not migrating.done()
        other.rollback()
    await migrating
    await database.check_migrated()
    await database.close()


async def test_interrupted_migration_leaves_the_store_as_it_was(
    tmp_path: Path, postgres18: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = migrate.upgrade

    def torn(connection: Connection) -> None:
        real(connection)
        raise OSError("the power went")

    async with _EmptyPostgres(postgres18) as url:
        for store in (f"sqlite:///{tmp_path / 'torn.sqlite'}", url):
            database = Database(store)
            monkeypatch.setattr(migrate, "upgrade", torn)
            with pytest.raises(StoreFault):
                await database.migrate()
            with pytest.raises(StoreFault, match="empty"):
                await database.check_migrated()
            monkeypatch.setattr(migrate, "upgrade", real)
            await database.migrate()
            await database.check_migrated()
            await database.close()


async def test_other_schema_version_is_refused(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreFault, match="9999"):
        await database.check_migrated()


async def test_transaction_is_all_or_nothing(database: Database) -> None:
    async def fail_half_way() -> None:
        async with database.transaction() as connection:
            await _link(connection, "a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_half_way()
    async with database.statement() as connection:
        assert (await connection.execute(select(person_aliases.c.alias))).all() == []


async def test_integrity_errors_pass_through(database: Database) -> None:
    async with database.statement(writes=True) as connection:
        await _link(connection, "a")
    with pytest.raises(IntegrityError):
        async with database.statement(writes=True) as connection:
            await _link(connection, "a")


async def test_foreign_keys_are_enforced(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.statement(writes=True) as connection:
            await connection.execute(
                text("INSERT INTO session_effects (session_id, effect, object) VALUES ('ses_none', 'sql.select', '')")
            )


async def test_database_clock_is_utc_and_moves(database: Database) -> None:
    async with database.statement() as connection:
        now, later, earlier = (
            await connection.execute(select(database_time(), database_time(3600), database_time(-0.5)))
        ).one()
    assert abs((datetime.now(UTC) - now).total_seconds()) < 5
    assert (later - now).total_seconds() == pytest.approx(3600, abs=1)
    assert earlier < now


async def test_many_writers_neither_fail_nor_lose_a_write(database: Database, store_url: str) -> None:
    other = Database(store_url)  # as another process: not behind the same queue

    async def write(through: Database, number: int) -> None:
        async with through.transaction() as connection:
            await _link(connection, f"{number}")

    await asyncio.gather(*(write((database, other)[number % 2], number) for number in range(60)))
    async with database.statement() as connection:
        assert len((await connection.execute(select(person_aliases.c.alias))).all()) == 60
    await other.close()


async def test_sqlite_file_is_for_its_owner_only_and_safe_against_power_loss(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    database = Database(f"sqlite:///{path}")
    await database.migrate()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with database.statement() as connection:
        assert (await connection.execute(text("PRAGMA journal_mode"))).scalar_one() == "wal"
        assert (await connection.execute(text("PRAGMA synchronous"))).scalar_one() == 2
        assert stat.S_IMODE(path.with_name("store.sqlite-wal").stat().st_mode) == 0o600
    await database.close()


async def test_unreachable_store_is_a_store_fault_without_the_password() -> None:
    database = Database("postgresql://somebody:hunter2@127.0.0.1:1/none", timeout=1)
    assert "hunter2" not in repr(database)
    with pytest.raises(StoreFault) as refused:
        async with database.statement() as connection:
            await connection.execute(select(1))
    assert "hunter2" not in f"{refused.value} {refused.value.detail} {refused.value.hint}"
    await database.close()


async def test_broken_sqlite_file_is_a_store_fault(tmp_path: Path) -> None:
    path = tmp_path / "broken.sqlite"
    path.write_bytes(b"this is no database" * 1000)
    database = Database(f"sqlite:///{path}")
    with pytest.raises(StoreFault):
        async with database.statement() as connection:
            await connection.execute(select(1))
    await database.close()


async def test_locked_sqlite_file_is_a_store_fault_after_the_timeout(tmp_path: Path, migrated_file: Path) -> None:
    database = Database(f"sqlite:///{migrated_file}", timeout=0.2)
    holder = sqlite3.connect(migrated_file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreFault):
        async with database.transaction() as connection:
            await _link(connection, "a")
    holder.execute("ROLLBACK")
    holder.close()
    await database.close()


async def test_statement_values_never_reach_an_error(database: Database) -> None:
    with pytest.raises(StoreFault) as refused:
        async with database.statement() as connection:
            await connection.execute(text("SELECT :value FROM no_such_table"), {"value": "canary-7141"})
    error: BaseException | None = refused.value
    while error:
        assert "canary-7141" not in f"{error!r} {error}"
        error = error.__cause__ or error.__context__


async def test_a_server_is_known_by_its_certificate(tmp_path: Path, postgres18: PostgresServer) -> None:
    trusted, key = certificate(tmp_path)
    (tmp_path / "other").mkdir()
    stranger, _ = certificate(tmp_path / "other")
    async with _EmptyPostgres(postgres18) as url:
        with TlsFront(postgres18.port, trusted, key) as front:
            through = url.replace(f":{postgres18.port}/", f":{front.port}/").partition("?")[0]
            database = Database(f"{through}?sslmode=verify-full&sslrootcert={trusted}")
            await database.migrate()
            await database.close()
            database = Database(f"{through}?sslmode=verify-full&sslrootcert={stranger}")
            with pytest.raises(StoreFault) as refused:
                await database.check_migrated()
            assert refused.value.detail == "SSLCertVerificationError"
            await database.close()


class _EmptyPostgres:
    def __init__(self, server: PostgresServer) -> None:
        self.server = server

    async def __aenter__(self) -> str:
        name = f"empty_{secrets.token_hex(6)}"
        await execute(self.server, f"CREATE DATABASE {name}")
        return self.server.dsn(name)

    async def __aexit__(self, *_: object) -> None:
        return None


async def _link(connection: object, alias: str) -> None:
    await connection.execute(  # type: ignore[attr-defined]
        insert(person_aliases).values(alias=alias, person="p", linked_at=database_time(), linked_by="test")
    )
