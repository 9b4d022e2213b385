"""What examples/prefect configures is what the code takes. Its flow itself runs in tests/integration and tests/e2e."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.flows import Flow

from taskgate.demo.example import PREFECT
from taskgate.demo.forms import PREFECT_POOL
from taskgate.settings import Settings

EXAMPLE = Path(__file__).parents[3] / "examples" / "prefect"


def _environment(name: str) -> dict[str, str]:
    lines = [line for line in (EXAMPLE / name).read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.fixture(scope="module")
def module() -> Any:
    spec = importlib.util.spec_from_file_location("orders_cleanup", EXAMPLE / "orders_cleanup.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_the_flow_is_what_deployment_and_policy_call_it(module: Any) -> None:
    (deployment,) = yaml.safe_load((EXAMPLE / "prefect.yaml").read_text())["deployments"]
    file, _, function = deployment["entrypoint"].partition(":")
    assert (EXAMPLE / file).is_file()
    flow: Flow[Any, Any] = getattr(module, function)
    assert flow.name == PREFECT.id
    assert deployment["work_pool"] == {"name": PREFECT_POOL}
    known = f"{flow.name}/{deployment['name']}"
    for policy in ("policy.yaml", "asserted/policy.yaml"):
        rules = yaml.safe_load((EXAMPLE / policy).read_text())["rules"]
        named = {rule["match"]["principals"]["deployment"] for rule in rules if "principals" in rule["match"]}
        assert named == {known}


def test_what_the_demo_expects_is_what_the_flow_does(module: Any) -> None:
    flow = module.orders_cleanup
    defaults = {name: one.default for name, one in inspect.signature(flow.fn).parameters.items()}
    assert defaults == {f"{one.status}_before": one.before for one in PREFECT.deletions}
    assert flow.persist_result, "a run that keeps nothing is not suspended"
    assert {name: getattr(module, name).name for name in PREFECT.tasks} == {name: name for name in PREFECT.tasks}
    assert [name for name in PREFECT.tasks if getattr(module, name).persist_result is False] == [
        "delete_shipped_orders"
    ]


def test_the_gateway_takes_its_settings() -> None:
    settings = Settings.load(EXAMPLE / "taskgate.yaml")
    assert [target.name for target in settings.targets] == ["orders-db"]
    assert settings.policy == [EXAMPLE / "policy.yaml"]
    (prefect,) = settings.prefect
    assert prefect.source == PREFECT.source
    for name in ("prefect.env", "asserted/prefect.env"):
        environment = _environment(name)
        assert environment["PREFECT_API_URL"] == prefect.url
        assert environment["TASKGATE_SOURCE"] == prefect.source
        assert environment["TASKGATE_URL"] == f"http://127.0.0.1:{settings.api.port}"


def test_a_key_that_can_be_a_run_is_in_no_environment_of_the_worker_form() -> None:
    assert [name for name in _environment("prefect.env") if "KEY" in name] == ["TASKGATE_WORKER_KEY_FILE"]
    assert "TASKGATE_API_KEY" in _environment("asserted/prefect.env")


def test_the_two_policies_differ_in_assurance_alone() -> None:
    worker_form = yaml.safe_load((EXAMPLE / "policy.yaml").read_text())
    key_form = yaml.safe_load((EXAMPLE / "asserted" / "policy.yaml").read_text())
    assert "assurance" not in json.dumps(worker_form)
    dropped = [
        rule["match"]["principals"].pop("assurance") for rule in key_form["rules"] if "principals" in rule["match"]
    ]
    assert dropped == ["asserted", "asserted"]
    assert worker_form == key_form


@pytest.mark.parametrize("policy", ["policy.yaml", "asserted/policy.yaml"])
def test_the_policys_own_tests_pass(policy: str) -> None:
    for command in ("check", "test"):
        done = subprocess.run(
            [sys.executable, "-m", "taskgate.cli", "policy", command, str(EXAMPLE / policy)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_readme_names_what_is_there() -> None:
    named = re.findall(r"`([\w./]+\.(?:py|yaml|env))`", (EXAMPLE / "README.md").read_text())
    there = {str(one.relative_to(EXAMPLE)) for one in EXAMPLE.rglob("*") if one.suffix in (".py", ".yaml", ".env")}
    assert set(named) == there
