from __future__ import annotations

import pytest

from taskgate_airflow.mapping import MappedConnection, MappingError, read_connection, read_mapping


def test_a_name_maps_to_a_target() -> None:
    assert read_mapping({"orders_db": "orders-db"}) == {"orders_db": MappedConnection("orders-db")}


def test_json_text_is_read_for_environment_variables() -> None:
    assert read_mapping('{"orders_db": "orders-db"}')["orders_db"].target == "orders-db"


def test_each_connection_may_say_more_than_the_defaults() -> None:
    mapping = read_mapping(
        {"a": "x", "b": {"target": "y", "host": "b.internal", "port": "7000", "extra": {"application_name": "etl"}}},
        host="gw.internal",
        port=6432,
        sslmode="verify-full",
        sslrootcert="/etc/ca.pem",
    )
    assert mapping["a"] == MappedConnection("x", "gw.internal", 6432, "verify-full", "/etc/ca.pem")
    assert mapping["b"] == MappedConnection(
        "y", "b.internal", 7000, "verify-full", "/etc/ca.pem", {"application_name": "etl"}
    )


def test_a_connection_may_check_certificates_its_own_way() -> None:
    mapping = read_mapping({"a": {"target": "x", "sslmode": "verify-ca"}}, sslmode="verify-full")
    assert mapping["a"].sslmode == "verify-ca"


def test_what_is_left_empty_is_as_the_defaults() -> None:
    """Airflow's form stores an empty text for what was not filled in."""
    assert read_connection("a", {"target": "x", "host": "", "port": "", "sslmode": ""}, {}) == MappedConnection("x")


@pytest.mark.parametrize(
    ("connections", "says"),
    [
        (None, "connections missing"),
        ({}, "connections missing"),
        ("{not json", "no JSON"),
        ("[1]", "connections missing"),
        ({"a": ""}, "connection a"),
        ({"a": None}, "connection a"),
        ({"a": {"host": "h"}}, "connection a"),
        ({"a": {"target": "x", "password": "p"}}, "unknown password"),
        ({"a": {"target": "x", "port": "many"}}, "port is no number"),
        ({"a": {"target": "x", "host": ["h"]}}, "host is no text"),
        ({"a": {"target": "x", "sslmode": 1}}, "sslmode is no text"),
        ({"a": {"target": "x", "extra": ["sslmode"]}}, "extra is no mapping"),
    ],
)
def test_what_cannot_be_used_is_named(connections: object, says: str) -> None:
    with pytest.raises(MappingError, match=says):
        read_mapping(connections)  # type: ignore[arg-type]
