from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskgate.client import IssuedCredential
from taskgate_airflow.mapping import MappedConnection, MappingError
from taskgate_airflow.rewriting.postgres import PostgresRewriting
from tests.e2e.control_api_stand_in import task_principal


def issued(protocol: str = "postgres", **more: Any) -> IssuedCredential:
    at = datetime.now(UTC)
    return IssuedCredential.model_validate(
        {
            "id": "tg_1",
            "user": "tg_1",
            "password": "s3cret-s3cret",
            "target": "orders-db",
            "protocol": protocol,
            "host": "gw.internal",
            "port": 6432,
            "database": "shop",
            "dsn": "postgresql://tg_1:s3cret-s3cret@gw.internal:6432/shop",
            "principal": task_principal(),
            "issued_at": at,
            "expires_at": at + timedelta(hours=1),
            **more,
        }
    )


def test_it_is_a_stock_postgres_connection_to_the_gateway() -> None:
    fields = PostgresRewriting().fields(MappedConnection("orders-db"), issued())
    assert (fields.conn_type, fields.host, fields.port) == ("postgres", "gw.internal", 6432)
    assert (fields.login, fields.password, fields.schema) == ("tg_1", "s3cret-s3cret", "shop")
    assert fields.extra == {}
    assert "s3cret" not in repr(fields)


def test_the_sites_own_way_to_the_gateway_comes_first() -> None:
    mapped = MappedConnection("orders-db", "lb.internal", 16432, "verify-ca", "/etc/ca.pem", {"options": "-c x=1"})
    fields = PostgresRewriting().fields(mapped, issued())
    assert (fields.host, fields.port) == ("lb.internal", 16432)
    assert fields.extra == {"sslmode": "verify-ca", "sslrootcert": "/etc/ca.pem", "options": "-c x=1"}


def test_the_connections_own_extras_come_before_the_shared_ones() -> None:
    mapped = MappedConnection("orders-db", sslmode="verify-ca", extra={"sslmode": "verify-full"})
    assert PostgresRewriting().fields(mapped, issued()).extra == {"sslmode": "verify-full"}


@pytest.mark.parametrize(
    "mapped",
    [
        MappedConnection("orders-db", sslrootcert="/etc/ca.pem"),
        MappedConnection("orders-db", extra={"sslrootcert": "/etc/ca.pem"}),
    ],
)
def test_a_root_certificate_alone_means_verify_full(mapped: MappedConnection) -> None:
    assert PostgresRewriting().fields(mapped, issued()).extra["sslmode"] == "verify-full"


@pytest.mark.parametrize("extra", ["resource", "host", "hostaddr", "service", "password", "passfile", "sslkey"])
def test_what_breaks_the_driver_or_leads_around_the_gateway_is_refused(extra: str) -> None:
    with pytest.raises(MappingError, match=f"extra {extra} would break"):
        PostgresRewriting().fields(MappedConnection("orders-db", extra={extra: "x"}), issued())


def test_libpq_knows_every_extra_that_is_allowed() -> None:
    from psycopg.conninfo import make_conninfo

    for extra in PostgresRewriting.extras:
        make_conninfo("", **{extra: "1"})


def test_the_stock_hook_takes_the_connection() -> None:
    from airflow.providers.postgres.hooks.postgres import PostgresHook
    from airflow.sdk import Connection

    from taskgate_airflow.compat import as_connection

    mapped = MappedConnection("orders-db", sslrootcert="/etc/ca.pem", extra={"application_name": "etl"})

    class _Backend:
        def _get_connection_class(self) -> type:
            return Connection

    connection = as_connection(_Backend(), "orders_db", PostgresRewriting().fields(mapped, issued()))
    uri = str(PostgresHook(connection=connection).get_uri())
    assert "tg_1:s3cret-s3cret@gw.internal:6432/shop" in uri
