from __future__ import annotations

import pytest

from taskgate_airflow.doctor.finding import Level
from taskgate_airflow.doctor.form import WORKER_BACKEND, Form, form
from tests.unit.airflow.doctor.conftest import Configure

COMPLETE = {"url": "https://gw", "source": "prod", "api_key_file": "/key", "connections": {"orders_db": "orders-db"}}


def test_none(configure: Configure) -> None:
    setup = configure()
    assert setup.form is Form.NONE
    (finding,) = form(setup)
    assert finding.level is Level.FAIL
    assert finding.found.startswith("none")


def test_the_worker_form(configure: Configure) -> None:
    setup = configure("worker", COMPLETE)
    assert (setup.form, setup.connections) == (Form.WORKER, ("orders_db",))
    assert [one.level for one in form(setup)] == [Level.OK, Level.OK]
    assert "/key" not in repr(setup)


def test_workers_fall_back_to_the_servers_setting(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = configure(secrets__backend=WORKER_BACKEND, secrets__backend_kwargs='{"connections": {"a": "b"}}')
    assert (setup.form, setup.connections) == (Form.WORKER, ("a",))


def test_the_server_form_needs_no_connections_by_name(configure: Configure) -> None:
    setup = configure("server", {"url": "https://gw", "source": "prod"})
    assert setup.form is Form.SERVER
    assert [one.level for one in form(setup)] == [Level.OK, Level.OK]
    assert "governed_…" in list(form(setup))[1].found


@pytest.mark.parametrize("missing", sorted(COMPLETE))
def test_what_is_missing_denies_everything(configure: Configure, missing: str) -> None:
    setup = configure("worker", {name: value for name, value in COMPLETE.items() if name != missing})
    finding = list(form(setup))[-1]
    assert finding.level is Level.FAIL
    assert finding.found == f"{missing} missing: every governed connection is denied"


def test_another_backend_before_or_beside_ours(configure: Configure) -> None:
    setup = configure("server", COMPLETE, workers__secrets_backend="vault.VaultBackend")
    assert [one.level for one in form(setup)] == [Level.OK, Level.FAIL, Level.OK]
    assert "vault.VaultBackend" in list(form(setup))[1].found
    beside = configure("worker", COMPLETE, secrets__backend="vault.VaultBackend")
    assert beside.form is Form.WORKER
    assert [one.level for one in form(beside)] == [Level.OK, Level.WARN, Level.OK]
