from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from taskgate_airflow.mapping import MappedConnection, MappingError
from taskgate_airflow.stored_connections import as_text, from_text, mapped_by, mapping_asked_for, mapping_key


def _stored(conn_type: str = "governed_postgres", **more: Any) -> SimpleNamespace:
    given = {"login": None, "password": None, "extra": json.dumps({"target": "orders-db"}), **more}
    return SimpleNamespace(conn_type=conn_type, **given)


def test_a_governed_connection_names_its_target() -> None:
    assert mapped_by("orders_db", _stored(), {}) == MappedConnection("orders-db", protocol="postgres")
    extra = json.dumps(
        {"target": "orders-db", "host": "lb.internal", "port": 16432, "sslmode": "", "sslrootcert": None}
    )
    assert mapped_by("orders_db", _stored(extra=extra), {"sslmode": "verify-full"}) == MappedConnection(
        "orders-db", "lb.internal", 16432, "verify-full", protocol="postgres"
    )


@pytest.mark.parametrize("stored", [None, _stored("postgres"), _stored(None), _stored("ungoverned_postgres")])
def test_any_other_is_none_of_ours(stored: Any) -> None:
    assert mapped_by("orders_db", stored, {}) is None


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (None, "give a target's name"),
        ("{}", "give a target's name"),
        ("[1]", "give a target's name"),
        ("{no json", "its extra is no JSON"),
        ('{"target": "orders-db", "password": "p"}', "unknown password"),
        ('{"target": "orders-db", "extra": {"options": "x"}}', "unknown extra"),
        ('{"target": "orders-db", "port": "many"}', "port is no number"),
    ],
)
def test_one_that_cannot_be_used_says_why(extra: str | None, says: str) -> None:
    with pytest.raises(MappingError, match=f"connection orders_db: {says}"):
        mapped_by("orders_db", _stored(extra=extra), {})


def test_a_password_in_it_is_ignored_and_warned_about(capsys: pytest.CaptureFixture[str]) -> None:
    import structlog

    with structlog.testing.capture_logs() as logs:
        mapped = mapped_by("orders_db", _stored(password="s3cret-s3cret"), {})
    assert mapped == MappedConnection("orders-db", protocol="postgres")
    assert [(one["log_level"], one["conn_id"]) for one in logs] == [("warning", "orders_db")]
    assert "s3cret" not in str(logs)


def test_a_process_without_a_database_reads_the_same_mapping() -> None:
    mapped = MappedConnection("orders-db", "lb.internal", 16432, "verify-full", "/etc/ca.pem", protocol="postgres")
    assert from_text("orders_db", as_text(mapped)) == mapped
    assert mapping_asked_for(mapping_key("orders_db")) == "orders_db"
    assert mapping_asked_for("orders_db") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"protocol": "postgres"}'])
def test_an_answer_that_is_no_mapping_is_an_error(text: str) -> None:
    with pytest.raises(MappingError):
        from_text("orders_db", text)
