"""PG-14: what a server says besides rows (errors, notices, notifications) does not give masked values away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import psycopg
import pytest

from taskgate.demo.postgres_server import PostgresServer
from taskgate.domain import Facts, MaskKind, MaskRule, Pair
from taskgate.masking.plan import WITHHELD, MaskedColumns, MaskPlan, plan

SSN, EMAIL = "123-45-6789", "canary.bob@example.com"
COLUMN = "pg14.people.ssn"

SETUP = f"""
DROP SCHEMA IF EXISTS pg14 CASCADE; CREATE SCHEMA pg14;
CREATE TABLE pg14.people (id int PRIMARY KEY, ssn text UNIQUE, age int CHECK (age > 0), email text NOT NULL);
INSERT INTO pg14.people VALUES (1, '{SSN}', 5, '{EMAIL}'), (2, 'other', 5, 'x');
CREATE FUNCTION pg14.tell() RETURNS trigger LANGUAGE plpgsql AS
  $$BEGIN
    RAISE NOTICE 'changing %', OLD;
    RAISE EXCEPTION 'no, % stays', OLD USING DETAIL = OLD.ssn, HINT = OLD.email;
  END$$;
CREATE TRIGGER tells BEFORE DELETE ON pg14.people FOR EACH ROW EXECUTE FUNCTION pg14.tell();
"""


class _Catalogue:
    column_names = frozenset({COLUMN})

    def origin(self, column: str) -> tuple[int, int] | None:
        return (1, 2)

    def closure(self, columns: Iterable[str]) -> Iterable[str]:
        return columns


class _Masks:
    def __init__(self, *, columns: bool, detectors: bool) -> None:
        self.detectors: Mapping[str, MaskRule] = (
            {name: MaskRule(name, MaskKind.REDACT) for name in ("email", "us_ssn")} if detectors else {}
        )
        self._columns = columns

    @property
    def empty(self) -> bool:
        return False

    def exempted(self, name: str) -> bool:
        return False

    def column(self, name: str) -> MaskRule | None:
        return MaskRule("masks[0]", MaskKind.REDACT, predicates=True, flows=True) if self._columns else None


def planned(effect: str, *, read: bool = False, columns: bool = True, detectors: bool = False) -> MaskPlan:
    facts = Facts(pairs=(Pair(effect, "pg14.people"),), columns_read=frozenset({COLUMN} if read else ()))
    return plan(facts, MaskedColumns(_Masks(columns=columns, detectors=detectors), _Catalogue(), b"key"))


@pytest.fixture
def connection(postgres: PostgresServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.dsn(), autocommit=True) as opened:
        opened.execute(SETUP)
        yield opened


# What the server answers with, the effect that the statement has, whether it reads the masked column.
STATEMENTS = {
    "failing row": ("UPDATE pg14.people SET age = -1 WHERE id = 1", "sql.update", False),
    "duplicate key": (f"INSERT INTO pg14.people VALUES (3, '{SSN}', 1, 'x')", "sql.insert", False),
    "not null": ("UPDATE pg14.people SET email = NULL WHERE id = 1", "sql.update", False),
    "cast": ("SELECT ssn::int FROM pg14.people", "sql.select", True),
    "trigger": ("DELETE FROM pg14.people WHERE id = 1", "sql.delete", False),
}


def texts(connection: psycopg.Connection, sql: str) -> list[str]:
    """Every free text of the server's answer."""
    said: list[str] = []
    connection.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
    with pytest.raises(psycopg.Error) as error:
        connection.execute(sql)
    diag = error.value.diag
    fields = (diag.message_primary, diag.message_detail, diag.message_hint, diag.context, diag.internal_query)
    return said + [field for field in fields if field]


@pytest.mark.parametrize("name", STATEMENTS)
def test_pg_14_errors_and_notices_of_masked_relations_are_withheld(connection: psycopg.Connection, name: str) -> None:
    sql, effect, read = STATEMENTS[name]
    said = texts(connection, sql)
    assert any(SSN in text or EMAIL in text for text in said), "the server does quote the value"
    made = planned(effect, read=read)
    assert made.active
    assert {made.scrub(text) for text in said} == {WITHHELD}


@pytest.mark.parametrize("name", STATEMENTS)
def test_pg_14_detectors_search_errors_and_notices(connection: psycopg.Connection, name: str) -> None:
    sql, effect, read = STATEMENTS[name]
    made = planned(effect, read=read, columns=False, detectors=True)
    scrubbed = [made.scrub(text) for text in texts(connection, sql)]
    assert not any(SSN in text or EMAIL in text for text in scrubbed)
    assert any("[redacted]" in text for text in scrubbed)


def test_pg_14_a_harmless_error_stays_readable(connection: psycopg.Connection) -> None:
    made = planned("sql.select", detectors=True)
    assert texts(connection, "SELECT nme FROM pg14.people") == [
        made.scrub(text) for text in texts(connection, "SELECT nme FROM pg14.people")
    ]


def test_pg_14_notifications_are_searched(connection: psycopg.Connection) -> None:
    baseline = MaskedColumns(_Masks(columns=True, detectors=True), _Catalogue(), b"key").baseline
    connection.execute("LISTEN changes")
    connection.execute("SELECT pg_notify('changes', %s)", (f"new customer {EMAIL}",))
    (notification,) = connection.notifies(timeout=5, stop_after=1)
    assert baseline.scrub(notification.payload) == "new customer [redacted]"


def test_pg_14_explain_is_masked_whole(connection: psycopg.Connection) -> None:
    sql = f"EXPLAIN SELECT id FROM pg14.people WHERE ssn = '{SSN}'"
    assert SSN in str(connection.execute(sql).fetchall())
    made = planned("sql.explain", read=True)
    (rule,) = made.column_rules([("QUERY PLAN", None)])
    assert rule is not None
    assert rule.kind is MaskKind.REDACT
