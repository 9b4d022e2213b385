"""The shipped list of safe functions against what the servers have."""

# ruff: noqa: E501  (tables of texts)

from __future__ import annotations

from taskgate.demo.postgres_server import PostgresServer
from taskgate.sql.functions import COUNTING, MASKED_WHOLE, SAFE
from tests.integration.sql.conftest import Connection, new_database

VOLATILE = {  # random, time, sizes, server state, letting go of own locks; nothing that writes, waits or reads a table
    "array_sample", "array_shuffle", "clock_timestamp", "current_query", "gen_random_uuid", "pg_collation_actual_version",
    "pg_advisory_unlock_all", "pg_database_size", "pg_indexes_size", "pg_is_in_recovery", "pg_jit_available", "pg_partition_ancestors",
    "pg_partition_tree", "pg_relation_size", "pg_table_size", "pg_tablespace_size", "pg_total_relation_size", "random",
    "random_normal", "timeofday", "uuidv4", "uuidv7",
}  # fmt: skip


def _functions(connection: Connection) -> dict[str, set[tuple[str, str]]]:
    rows = connection.execute(
        "select p.proname, p.provolatile::text, l.lanname from pg_proc p join pg_language l on l.oid = p.prolang "
        "where p.pronamespace = 'pg_catalog'::regnamespace"
    ).fetchall()
    found: dict[str, set[tuple[str, str]]] = {}
    for name, volatility, language in rows:
        found.setdefault(name, set()).add((volatility, language))
    return found


def test_listed_functions_exist_and_are_shipped(postgres18: PostgresServer, postgres15: PostgresServer) -> None:
    connections = [new_database(server, "functions") for server in (postgres18, postgres15)]
    newer, older = (_functions(connection) for connection in connections)
    for connection in connections:
        connection.close()
    assert set() == SAFE - set(newer) - set(older)
    for name in SAFE:
        kinds = newer.get(name, set()) | older.get(name, set())
        assert {language for _, language in kinds} <= {"internal", "sql"}, name
        assert ("v" in {volatility for volatility, _ in kinds}) == (name in VOLATILE), name


def test_the_lists_within() -> None:
    assert COUNTING <= SAFE
    assert MASKED_WHOLE <= SAFE
