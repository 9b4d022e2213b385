from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from taskgate_airflow.doctor.finding import Finding, Level
from taskgate_airflow.doctor.gateway import gateway, keys
from tests.e2e.control_api_stand_in import ControlApiServer
from tests.unit.airflow.doctor.conftest import Configure

WORKER = ["credentials:issue", "credentials:revoke", "approvals:watch"]


@pytest.fixture
def key(control_api: ControlApiServer, tmp_path: Path) -> Any:
    """`key(scopes)` → a file with such a key."""
    made = 0

    def make(scopes: list[str], kind: str = "service") -> str:
        nonlocal made
        made += 1
        text = control_api.api.key(f"airflow-{made}", kind=kind, groups=())
        control_api.api.keys[text]["scopes"] = scopes
        file = tmp_path / f"key-{made}"
        file.touch(mode=0o600)
        file.write_text(text)
        return str(file)

    return make


def _worker(configure: Configure, control_api: ControlApiServer, file: str) -> list[Finding]:
    found = list(gateway(configure("worker", {"url": control_api.url, "api_key_file": file})))
    assert found[0] == Finding("gateway", Level.OK, f"ready at {control_api.url}")
    return found[1:]


def test_a_key_with_what_it_needs(configure: Configure, control_api: ControlApiServer, key: Any) -> None:
    (finding,) = _worker(configure, control_api, key(WORKER))
    assert finding.level is Level.OK
    assert finding.found == "airflow-1, approvals:watch credentials:issue credentials:revoke"


@pytest.mark.parametrize(
    ("scopes", "kind", "said"),
    [
        (WORKER[:2], "service", "lacks approvals:watch"),
        ([], "service", "no scopes: lacks approvals:watch credentials:issue credentials:revoke"),
        (["admin"], "service", "with admin whoever reads it can claim to be any task"),
        (WORKER, "user", "airflow-1 is a person's key"),
    ],
)
def test_keys_that_are_wrong(
    configure: Configure, control_api: ControlApiServer, key: Any, scopes: list[str], kind: str, said: str
) -> None:
    found = _worker(configure, control_api, key(scopes, kind))
    assert found[0].level is Level.FAIL
    assert said in found[0].found
    assert found[0].do


def test_a_key_that_is_not_let_in(configure: Configure, control_api: ControlApiServer, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text("tgk_of_somebody_else")
    (finding,) = _worker(configure, control_api, str(file))
    assert finding.level is Level.FAIL
    assert "tgk_of_somebody_else" not in str(finding)


def test_a_file_that_is_not_here_or_open(configure: Configure, control_api: ControlApiServer, key: Any) -> None:
    (finding,) = _worker(configure, control_api, "/no/such/key")
    assert finding.level is Level.WARN
    file = key(WORKER)
    Path(file).chmod(0o644)
    assert [one.level for one in _worker(configure, control_api, file)] == [Level.FAIL, Level.OK]


def test_the_server_forms_keys(configure: Configure, control_api: ControlApiServer, key: Any) -> None:
    exchange, wait = ["credentials:exchange"], ["credentials:delegate", "approvals:watch"]
    setup = configure(
        "server", {"url": control_api.url, "api_key_file": key(exchange)}, taskgate__api_key_file=key(wait)
    )
    assert [one.level for one in gateway(setup)] == [Level.OK] * 3
    setup = configure(
        "server", {"url": control_api.url, "api_key_file": key([*exchange, "credentials:issue"])},
        taskgate__api_key_file=key(exchange),
    )  # fmt: skip
    found = list(gateway(setup))[1:]
    assert [one.level for one in found] == [Level.FAIL, Level.FAIL]
    assert "with credentials:issue whoever reads it can claim to be any task" in found[0].found
    assert "lacks approvals:watch credentials:delegate" in found[1].found


def test_the_shared_option_is_the_servers_or_the_triggerers(
    configure: Configure, control_api: ControlApiServer, key: Any
) -> None:
    for scopes in (["credentials:exchange"], ["credentials:delegate", "approvals:watch"]):
        setup = configure("server", {"url": control_api.url}, taskgate__api_key_file=key(scopes))
        assert [one.level for one in gateway(setup)] == [Level.OK] * 2


def test_a_probe_key_may_issue(configure: Configure, control_api: ControlApiServer, key: Any) -> None:
    setup = configure(taskgate__probe_key_file=key(["credentials:issue"]), taskgate__url=control_api.url)
    assert [(one.purpose, one.may_assert) for one in keys(setup)] == [("the probe key", True)]
    assert [one.level for one in gateway(setup)] == [Level.OK] * 2


def test_a_gateway_that_is_away(configure: Configure) -> None:
    (finding,) = gateway(configure("worker", {"url": "http://127.0.0.1:1"}))
    assert finding.level is Level.FAIL
    (finding,) = gateway(configure("worker", {}))
    assert finding.do == "set `url`"
    assert list(gateway(configure("none"))) != []
