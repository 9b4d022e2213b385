"""An Airflow's metadata database, and all of it: as it is stored, and as the Fernet key reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import psycopg
from cryptography.fernet import Fernet
from psycopg import sql

from taskgate.demo.postgres_server import PostgresServer


@dataclass(frozen=True, slots=True)
class AirflowMetadata:
    server: PostgresServer
    name: str
    fernet_key: str = field(default_factory=lambda: Fernet.generate_key().decode(), repr=False)

    @property
    def url(self) -> str:
        return self.server.dsn(self.name).replace("postgresql://", "postgresql+psycopg2://")

    def create(self) -> None:
        with psycopg.connect(self.server.dsn(), autocommit=True) as admin:
            admin.execute(sql.SQL("create database {}").format(sql.Identifier(self.name)))

    def drop(self) -> None:
        with psycopg.connect(self.server.dsn(), autocommit=True) as admin:
            admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(self.name)))

    def rows(self) -> Iterator[tuple[str, bytes]]:
        """(table, every column of a row as text, tab-separated), of every table; a value that Fernet has encrypted is
        there in clear besides."""
        fernet = Fernet(self.fernet_key)
        with psycopg.connect(self.server.dsn(self.name)) as connection:
            tables = connection.execute(
                "select table_name from information_schema.tables where table_schema = 'public' order by 1"
            ).fetchall()
            for (table,) in tables:
                for row in connection.execute(sql.SQL("select t.* from {} t").format(sql.Identifier(table))):
                    values = [value if isinstance(value, bytes) else str(value).encode() for value in row]
                    clear = [fernet.decrypt(value) for value in values if value.startswith(b"gAAAA")]
                    yield table, b"\t".join(values + clear)

    def containing(self, secret: str) -> set[str]:
        """The tables in which this stands somewhere."""
        return {table for table, row in self.rows() if secret.encode() in row}
