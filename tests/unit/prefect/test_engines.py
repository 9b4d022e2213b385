from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import DisconnectionError

from taskgate_prefect import TaskgateGateway, engines
from taskgate_prefect.engines import GovernedEngine
from taskgate_prefect.gateway import GatewayAccess
from tests.unit.prefect.test_credentials import Asked, access, attempt


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The gateway, which gives whatever is asked for."""
    asked = Asked()
    monkeypatch.setattr(GatewayAccess, "client", lambda self: asked)
    monkeypatch.setattr(TaskgateGateway, "access", lambda self: access())
    return asked


@pytest.fixture
def governed() -> GovernedEngine:
    return GovernedEngine(
        TaskgateGateway(), "orders-db", attempt(), "psycopg", "refuse", {"connect_timeout": 3}, lambda *_: None
    )


class Dialect:
    """Stands for the driver: fails as often as it is told."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.connected: list[dict[str, Any]] = []

    def connect(self, **arguments: Any) -> str:
        self.connected.append(arguments)
        if self.failures:
            raise self.failures.pop(0)
        return "connection"


def test_the_url_says_nothing_but_driver_and_target(governed: GovernedEngine) -> None:
    assert str(governed.create().url) == "postgresql+psycopg:///orders-db"
    assert str(replace(governed, driver="asyncpg").create_async().url) == "postgresql+asyncpg:///orders-db"


def test_errors_name_no_parameters_unless_it_is_wanted(governed: GovernedEngine) -> None:
    assert governed.create().hide_parameters
    assert not governed.create(hide_parameters=False).hide_parameters


@pytest.mark.parametrize("name", ["async_creator", "creator", "module", "pool", "url"])
def test_nothing_leads_past_the_gateway(governed: GovernedEngine, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        governed.create(**{name: None})
    with pytest.raises(ValueError, match="hostaddr"):
        governed.create(connect_args={"hostaddr": "10.0.0.1"})


def test_connect_args_of_the_caller_are_added(governed: GovernedEngine) -> None:
    combined, arguments = governed._with({"connect_args": {"options": "-c statement_timeout=1"}, "echo": False})
    assert combined.connect_args == {"connect_timeout": 3, "options": "-c statement_timeout=1"}
    assert arguments == {"hide_parameters": True, "echo": False}


def test_a_connection_is_made_with_the_attempts_credential(governed: GovernedEngine, asked: Asked) -> None:
    dialect, record, kept = Dialect(), SimpleNamespace(info={}), {"context": "of the dialect"}
    assert governed._connect(dialect, record, [], kept) == "connection"
    arguments = dialect.connected[0]
    assert arguments["password"] == "s3cret"
    assert arguments["context"] == "of the dialect"
    assert arguments["options"] == "-ctaskgate.wait=refuse"
    assert kept == {"context": "of the dialect"}, "SQLAlchemy keeps it"
    assert record.info["taskgate_until"] > datetime.now(UTC)


def test_what_fails_with_a_new_credential_is_not_tried_with_another(governed: GovernedEngine, asked: Asked) -> None:
    dialect = Dialect(OSError("no way there"))
    with pytest.raises(OSError, match="no way there"):
        governed._connect(dialect, None, [], {})
    assert len(asked.asked) == 1


def test_what_fails_with_an_old_one_is_tried_with_a_new_one(
    governed: GovernedEngine, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    governed._connect(Dialect(), None, [], {})
    monkeypatch.setattr("taskgate_prefect.credentials._NEW", 0.0)
    dialect = Dialect(OSError("revoked"))
    assert governed._connect(dialect, None, [], {}) == "connection"
    assert len(asked.asked) == 2


def test_a_pooled_connection_whose_credential_has_ended_is_not_handed_out() -> None:
    now, open_ = datetime.now(UTC), SimpleNamespace(is_closed=lambda: False)

    def check_out(**info: datetime) -> None:
        engines._check_out(None, SimpleNamespace(info=info, driver_connection=open_), None)

    check_out(taskgate_until=now + timedelta(seconds=5))
    check_out()
    with pytest.raises(DisconnectionError):
        check_out(taskgate_until=now)


def test_its_repr_holds_no_argument(governed: GovernedEngine) -> None:
    assert "connect_timeout" not in repr(governed)
