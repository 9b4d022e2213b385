"""The shop twice with the same rows: one database that tasks reach directly, one through the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import yaml
from psycopg import sql

from taskgate.demo.data import APP_ROLE, DATABASE
from taskgate.demo.postgres_server import PostgresServer

TWINS = Path(__file__).with_name("twins")
DIRECT, GOVERNED = "shop_direct", "shop_governed"
TARGET = "shop-twin"

_TABLES = """
create table twin_rows (id int primary key, name text, note text);
create table twin_inserted (id int primary key, name text, note text);
create table twin_transferred (id bigint, name text, note text);
create table twin_paged (id bigint, name text, note text);
create table twin_loaded (id int, name text, note text);
create table twin_hooked (id int primary key, name text, note text);
create table twin_framed (id bigint, name text);
create table twin_poked (id int generated always as identity, by text);
create table twin_rescheduled (id int generated always as identity);
create table twin_days (ds date, n int);
insert into twin_days select current_date - n, n + 10 from generate_series(-1, 10) n;
"""


@contextmanager
def twin_databases(server: PostgresServer) -> Iterator[None]:
    """`shop` must be filled and nobody connected to it: both are copies of it."""
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        for name in (DIRECT, GOVERNED):
            admin.execute(f"create database {name} template {DATABASE}")
            with psycopg.connect(server.dsn(name), autocommit=True) as inside:
                inside.execute(_TABLES)
                inside.execute(f"grant all on all tables in schema public to {APP_ROLE}")
                inside.execute(f"grant create on schema public to {APP_ROLE}")
        try:
            yield
        finally:
            for name in (DIRECT, GOVERNED):
                admin.execute(f"drop database if exists {name} with (force)")


def contents(server: PostgresServer, database: str) -> dict[str, list[Any]]:
    """table → its rows in order, of every table that the twins write to."""
    with psycopg.connect(server.dsn(database), autocommit=True) as inside:
        names = inside.execute(
            "select relname from pg_class where relkind = 'r' and relname like 'twin%' order by 1"
        ).fetchall()
        return {
            name: inside.execute(
                sql.SQL("select t.* from public.{} t order by t::text").format(sql.Identifier(name))
            ).fetchall()
            for (name,) in names
        }


def policy_of(*files: Path) -> str:
    """One policy text of several files."""
    read = [yaml.safe_load(file.read_text()) for file in files]
    return yaml.safe_dump(
        {
            "version": 1,
            "rules": [rule for one in read for rule in one.get("rules", [])],
            "masks": [mask for one in read for mask in one.get("masks", [])],
        },
        sort_keys=False,
    )
