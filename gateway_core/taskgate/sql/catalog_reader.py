"""Reads a target's catalogue over a connection and a credential of its own, and tells cheaply when it has changed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from taskgate.domain import Target, TlsMode
from taskgate.errors import TargetFault
from taskgate.sql import catalog_json, functions
from taskgate.sql import catalog_queries as sql
from taskgate.sql.catalog import Catalog, Column, Relation

_CONNECT_TIMEOUT = 10.0  # seconds
_STATEMENT_TIMEOUT = 60.0


class CatalogReader:
    """The catalogue of one target. `secret` is the password of `target.catalog_user`, or of `target.user` without one.
    The connection is opened when first needed, and again after it broke. Raises TargetFault."""

    def __init__(self, target: Target, secret: str) -> None:
        self._target = target
        self._secret = secret
        self._connection: asyncpg.Connection[Any] | None = None
        self._busy = asyncio.Lock()
        self._digest: str | None = None

    def __repr__(self) -> str:
        return f"CatalogReader({self._target.name!r})"

    async def read(self) -> Catalog:
        """The whole catalogue, as of one moment."""
        async with self.connection() as connection:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                digest = await connection.fetchval(sql.DIGEST)
                rows = await self._rows(connection)
            catalog = await asyncio.to_thread(_built, rows, self._target.database)
            self._digest = digest
        return catalog

    async def changed(self) -> bool:
        """Whether DDL was committed since `read`, by anybody. True before the first `read`."""
        async with self.connection() as connection:
            digest = await connection.fetchval(sql.DIGEST)
        return self._digest is None or digest != self._digest

    async def close(self) -> None:
        async with self._busy:
            await self._drop()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        """The connection, for one user at a time. An error of the server or the network becomes a TargetFault."""
        async with self._busy:
            try:
                yield await self._connected()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
                await self._drop()
                raise TargetFault(
                    f"the catalogue of {self._target.name} cannot be read",
                    detail=f"{type(error).__name__}: {error}",
                    hint="Check the target's catalog_user and catalog_secret.",
                ) from error
            except asyncio.CancelledError:
                await self._drop()  # a query may still be under way on it
                raise

    async def _connected(self) -> asyncpg.Connection[Any]:
        if self._connection is None or self._connection.is_closed():
            target = self._target
            self._connection = await asyncpg.connect(
                host=target.host,
                port=target.port,
                database=target.database,
                user=target.catalog_user or target.user,
                password=self._secret,
                ssl=_tls(target),
                timeout=_CONNECT_TIMEOUT,
                command_timeout=_STATEMENT_TIMEOUT,
                statement_cache_size=16,
                server_settings={
                    "application_name": "taskgate catalogue",
                    "search_path": "pg_catalog",
                    "default_transaction_read_only": "on",
                    "statement_timeout": str(int(_STATEMENT_TIMEOUT * 1000)),
                    "lock_timeout": "2000",
                    "jit": "off",
                },
            )
        return self._connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _rows(self, connection: asyncpg.Connection[Any]) -> dict[str, Any]:
        trusted = list(sql.TRUSTED_EXTENSIONS)
        return {
            "version": int(await connection.fetchval("select pg_catalog.current_setting('server_version_num')")),
            "relations": await connection.fetch(sql.RELATIONS),
            "columns": await connection.fetch(sql.COLUMNS),
            "parents": await connection.fetch(sql.PARENTS),
            "schemas": await connection.fetch(sql.SCHEMAS),
            "functions": await connection.fetch(sql.FUNCTIONS, sorted(functions.SAFE)),
            "operators": await connection.fetch(sql.OPERATORS, trusted),
            "casts": await connection.fetch(sql.CASTS, trusted),
            "types": await connection.fetch(sql.TYPES, trusted),
        }


def _tls(target: Target) -> ssl.SSLContext | bool:
    if target.tls is TlsMode.DISABLE:
        return False
    context = ssl.create_default_context(cafile=target.ca_file)
    context.check_hostname = target.tls is TlsMode.VERIFY_FULL
    return context


def _built(rows: dict[str, Any], database: str) -> Catalog:
    """Runs on a thread: a large catalogue takes a while, its views' definitions longest."""
    columns = {
        row["oid"]: tuple(
            Column(*column) for column in zip(row["names"], row["numbers"], row["types"], row["generated"], strict=True)
        )
        for row in rows["columns"]
    }
    parents: dict[int, list[int]] = {}
    for row in rows["parents"]:
        parents.setdefault(row["child"], []).append(row["parent"])
    relations = tuple(
        Relation(
            oid=row["oid"],
            schema=row["schema"],
            name=row["name"],
            columns=columns.get(row["oid"], ()),
            kind=row["kind"],
            definition=row["definition"],
            parents=tuple(sorted(parents.get(row["oid"], ()))),
            rules=row["rules"],
        )
        for row in rows["relations"]
    )
    types: dict[str, dict[str, str]] = {}
    for row in rows["types"]:
        types.setdefault(row["name"], {})[row["schema"]] = row["kind"]
    catalog = catalog_json.versioned(
        Catalog(
            database=database,
            server_version=rows["version"],
            relations=relations,
            schemas=frozenset(row["name"] for row in rows["schemas"]),
            functions={row["name"]: tuple(row["schemas"]) for row in rows["functions"]},
            operators={row["name"]: tuple(row["schemas"]) for row in rows["operators"]},
            types=types,
            casts={row["target"]: row["function"] for row in rows["casts"]},
        )
    )
    for relation in relations:
        if relation.is_view:
            catalog.view_lineage.of(relation)
    return catalog
