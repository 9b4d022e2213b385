"""Names that the target does not have: clients learn it in PostgreSQL's own words and codes, and what others have just
made is found. A real gateway, PostgreSQL, psycopg."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from taskgate.client import Client
from taskgate.demo.stage import TARGET, Stage

NOPE = [
    ("select * from public.nope", psycopg.errors.UndefinedTable),
    ("select nope from public.orders", psycopg.errors.UndefinedColumn),
    ("select o.nope from public.orders o", psycopg.errors.UndefinedColumn),
    ("select x.id from public.orders", psycopg.errors.UndefinedTable),
    ("select nope(1)", psycopg.errors.UndefinedFunction),
]


@pytest.fixture
def dsn(dana: Client) -> str:
    return dana.issue_credential(TARGET).dsn.get_secret_value()


@pytest.fixture
def admin(stage: Stage) -> Iterator[psycopg.Connection]:
    with psycopg.connect(stage.postgres.dsn("shop"), autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize(("text", "error"), NOPE, ids=[text for text, _ in NOPE])
def test_the_error_is_the_target_s_own(
    dsn: str, admin: psycopg.Connection, text: str, error: type[psycopg.Error]
) -> None:
    with pytest.raises(error) as direct:
        admin.execute(text)
    with psycopg.connect(dsn) as connection:
        with pytest.raises(error) as through:
            connection.execute(text)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        connection.rollback()
        assert connection.execute("select 1").fetchone() == (1,)
    shown = str(direct.value.diag.message_primary).replace("(integer)", "").replace('"', "")
    assert str(through.value.diag.message_primary).replace('"', "") == shown
    assert "session=" in str(through.value.diag.message_detail), "and says where it is recorded"


def test_a_rule_that_denies_comes_first(dsn: str) -> None:
    with (
        psycopg.connect(dsn) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="refused by rule"),
    ):
        connection.execute("drop table public.orders; select * from public.nope")


@pytest.mark.parametrize("autocommit", [True, False])
def test_what_somebody_else_has_just_made_is_found(dsn: str, admin: psycopg.Connection, *, autocommit: bool) -> None:
    name = f"fresh_{'alone' if autocommit else 'inside'}"
    with psycopg.connect(dsn, autocommit=autocommit) as connection:
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute(f"select * from public.{name}")
        connection.rollback()
        connection.execute("select pg_catalog.clock_timestamp()")
        admin.execute(f"create table public.{name} as select 7 as n")
        try:
            admin.execute(f"grant select on public.{name} to public")
            admin.execute("select pg_sleep(1.1)")  # a catalogue that has just been looked at is not looked at again
            assert connection.execute(f"select n from public.{name}").fetchone() == (7,)
        finally:
            connection.rollback()
            admin.execute(f"drop table public.{name}")
