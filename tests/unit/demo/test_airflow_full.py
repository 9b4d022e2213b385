"""Who is told what in the demo's whole Airflow. That it runs is shown in tests/e2e."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from taskgate.demo.airflow_full import WholeAirflow, place_in
from taskgate.demo.forms import server_form
from taskgate.identity.scopes import Scope


@pytest.fixture
def stage(tmp_path: Path) -> Any:
    form = server_form(place_in(tmp_path))
    return SimpleNamespace(
        directory=tmp_path,
        form=form,
        keys={name: f"secret of {name}" for name in (*form.keys, "dana")},
        gateway=SimpleNamespace(url="http://127.0.0.1:1"),
        postgres=SimpleNamespace(dsn=lambda *parts: "postgresql://" + "/".join(parts)),
        dashboard_url="http://127.0.0.1:2",
    )


@pytest.fixture
def airflow(stage: Any, tmp_path: Path) -> WholeAirflow:
    return WholeAirflow(stage, place_in(tmp_path))


def test_two_components_hold_a_key_of_the_gateways_each_its_own(airflow: WholeAirflow, stage: Any) -> None:
    files = {
        name: component.environment.get("AIRFLOW__TASKGATE__API_KEY_FILE")
        for name, component in airflow.components.items()
    }
    assert {name for name, file in files.items() if file} == {"api-server", "triggerer"}
    for name in ("api-server", "triggerer"):
        file = Path(files[name] or "")
        assert file.read_text() == f"secret of airflow-{name}"
        assert file.stat().st_mode & 0o077 == 0
    for component in airflow.components.values():
        assert not [value for value in component.environment.values() if "secret of" in value]


def test_two_components_sign(airflow: WholeAirflow) -> None:
    private = str(airflow.place.keys.private)
    told = {name for name, one in airflow.components.items() if private in one.environment.values()}
    assert told == {"api-server", "scheduler"}
    for one in airflow.components.values():
        assert one.environment["AIRFLOW__API_AUTH__TRUSTED_JWKS_URL"] == str(airflow.place.keys.jwks)


def test_no_key_can_claim_to_be_a_task(airflow: WholeAirflow) -> None:
    for key in airflow.form.keys.values():
        assert Scope.CREDENTIALS_ISSUE not in key.scopes
        assert key.groups == ["source:demo-airflow"]


def test_what_configures_another_airflow_is_not_passed_on(
    stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__WORKERS__SECRETS_BACKEND", "somebody.elses")
    monkeypatch.setenv("TASKGATE_API_KEY", "somebody's")
    for one in WholeAirflow(stage, place_in(tmp_path)).components.values():
        assert not {"AIRFLOW__WORKERS__SECRETS_BACKEND", "TASKGATE_API_KEY"} & set(one.environment)
