from __future__ import annotations

import pytest

from taskgate_airflow.compat.metadata import StoredConnection
from taskgate_airflow.doctor import ways_around as module
from taskgate_airflow.doctor.finding import Level
from taskgate_airflow.doctor.ways_around import ways_around
from tests.unit.airflow.doctor.conftest import Configure

MAPPED = {"connections": {"orders_db": "orders-db"}}


def _stored(monkeypatch: pytest.MonkeyPatch, *rows: StoredConnection) -> None:
    monkeypatch.setattr(module, "stored_connections", lambda: list(rows))


def _row(
    conn_id: str, conn_type: str = "postgres", *, login: bool = False, password: bool = False, extra: str | None = ""
) -> StoredConnection:
    keys = None if extra is None else frozenset(extra.split())
    return StoredConnection(conn_id, conn_type, login, password, keys)


def test_nothing_leads_around(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    form = _row("other_db", "governed_postgres", extra="target host port sslmode sslrootcert")
    _stored(monkeypatch, form, _row("elsewhere", login=True, password=True), _row("orders_db"))
    found = list(ways_around(configure("worker", MAPPED)))
    assert [one.level for one in found] == [Level.OK, Level.OK]
    assert "2 governed ones" in found[1].found


def test_a_variable_of_the_environment(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    _stored(monkeypatch)
    setup = configure("worker", MAPPED)
    monkeypatch.setenv("AIRFLOW_CONN_ORDERS_DB", "postgres://app:stored-password@db")
    monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", "postgres://app@db")
    found = [one for one in ways_around(setup) if one.level is not Level.OK]
    assert [one.level for one in found] == [Level.FAIL]
    assert "AIRFLOW_CONN_ORDERS_DB" in found[0].found
    assert "stored-password" not in str(found)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        (_row("orders_db", login=True, password=True), "orders_db (postgres) is stored with a login, a password"),
        (_row("orders_db", extra="options"), "orders_db (postgres) is stored with extra: options"),
        (_row("orders_db", extra=None), "orders_db (postgres) is stored with an extra that cannot be read"),
        (_row("form", "governed_postgres", password=True), "form (governed_postgres) is stored with a password"),
        (_row("form", "governed_ssh", extra="target key"), "form (governed_ssh) is stored with extra: key"),
    ],
)
def test_what_is_stored(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, row: StoredConnection, what: str
) -> None:
    _stored(monkeypatch, row)
    (finding,) = [one for one in ways_around(configure("worker", MAPPED)) if one.check == "stored connections"]
    assert (finding.level, finding.found) == (Level.FAIL, what)


def test_a_database_out_of_reach_is_said_without_its_words(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> list[StoredConnection]:
        raise OSError("postgres://airflow:metadata-password@db refused")

    monkeypatch.setattr(module, "stored_connections", away)
    finding = list(ways_around(configure("worker", MAPPED)))[-1]
    assert finding.level is Level.WARN
    assert "metadata-password" not in str(finding)
