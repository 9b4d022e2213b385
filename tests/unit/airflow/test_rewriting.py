from __future__ import annotations

import pytest

from taskgate_airflow.mapping import MappedConnection, MappingError
from taskgate_airflow.rewriting import REWRITINGS, check_extras, rewritten
from tests.unit.airflow.test_rewriting_postgres import issued


def test_each_is_found_by_the_credentials_protocol() -> None:
    assert all(protocol == rewriting.protocol for protocol, rewriting in REWRITINGS.items())
    assert rewritten(MappedConnection("orders-db"), issued("postgres")).conn_type == "postgres"


def test_a_protocol_without_one_is_refused() -> None:
    with pytest.raises(MappingError, match="target orders-db speaks gopher, which has no connection type here"):
        rewritten(MappedConnection("orders-db"), issued("gopher"))


def test_an_extra_of_no_protocol_is_found_before_any_credential() -> None:
    check_extras({"a": MappedConnection("x", extra={"application_name": "etl"})})
    with pytest.raises(MappingError, match="connection a: extra resource would break the driver; known: application"):
        check_extras({"a": MappedConnection("x", extra={"resource": "r"})})
