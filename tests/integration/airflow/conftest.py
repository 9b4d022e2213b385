"""The hook's transactions against a real PostgreSQL whose triggers refuse in the gateway's words.

It stands in for the gateway only where the gateway's part is a single error: everything end to end is in tests/e2e."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from taskgate.demo.postgres_server import PostgresServer
from tests.e2e.shop import Shop, shop
from tests.integration.airflow.governed_shop import POLICY, GovernedShop
from tests.unit.airflow.conftest import *  # noqa: F403  AIRFLOW_HOME before anything imports Airflow

_SCHEMA = """
drop schema public cascade; create schema public;
create table orders (id int, status text);
create table grants (relation text);
insert into orders select id, 'old' from generate_series(1, 5) id;
create table customers as table orders;
create function refuse() returns trigger language plpgsql security definer as $$ begin
  delete from grants where relation = tg_table_name;
  if not found then
    raise exception 'taskgate: rule deletes-need-a-human wants a human' using errcode = '42501',
      detail = 'rule=deletes-need-a-human' || chr(10) || 'approval=apr_' || tg_table_name || chr(10) || 'state=pending',
      hint = 'wait=' || current_setting('taskgate.wait', true);
  end if;
  return null;
end $$;
create trigger refuse before delete on orders for each statement execute function refuse();
create trigger refuse before delete on customers for each statement execute function refuse();
"""


@pytest.fixture
def refusing(postgres18: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    """Deletes from `orders` and `customers` are refused until a row in `grants` lets one through."""
    with psycopg.connect(postgres18.dsn(), autocommit=True) as admin:
        admin.execute("drop role if exists tg_test")
        admin.execute("create role tg_test superuser login password 'x'")
        admin.execute(_SCHEMA)  # type: ignore[arg-type]
        info = admin.info
        uri = f"postgres://tg_test:x@{info.host}:{info.port}/{info.dbname}"
        monkeypatch.setenv("AIRFLOW_CONN_ORDERS_DB", uri)
        monkeypatch.setenv("AIRFLOW_CONN_DIRECT", uri.replace("tg_test", info.user))
        try:
            yield admin
        finally:
            admin.execute("drop schema public cascade; create schema public")
            admin.execute("drop role tg_test")


@pytest.fixture(scope="package")
def running_shop(tmp_path_factory: pytest.TempPathFactory, postgres18: PostgresServer) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("shop"), postgres18, policy=POLICY) as running:
        yield running


@pytest.fixture
def governed(running_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> GovernedShop:
    """`orders_db` is the gateway's for this test's task, `direct` is not."""
    found = GovernedShop(running_shop)
    monkeypatch.setenv("AIRFLOW_CONN_ORDERS_DB", found.connection_uri())
    monkeypatch.setenv("AIRFLOW_CONN_DIRECT", running_shop.direct_uri)
    return found
