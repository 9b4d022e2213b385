"""What a malicious task finds in its own process, under the executor that protects it least: no key of Taskgate's, no
password of a target but what Airflow's operator left in the environment, no token of another task. That it can read
what the scheduler can is the LocalExecutor's; docs/airflow.md says what follows from it."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import Any

import httpx
import jwt
import pytest

from taskgate.demo.airflow_place import AirflowPlace
from tests.e2e.airflow_api import Run
from tests.e2e.airflow_forms import Form
from tests.e2e.airflow_keyholders import HOLDERS, KeyHolder, coordinates
from tests.e2e.airflow_tokens import ExecutionApi, TaskTokens
from tests.e2e.attack_out import AttackOut
from tests.e2e.real_airflow import RealAirflow
from tests.e2e.shop import APP_PASSWORD, CATALOG_PASSWORD, Shop

pytestmark = pytest.mark.timeout(400)


@dataclass(frozen=True)
class Seen:
    run: Run
    attempt: str
    found: dict[str, Any]

    @property
    def text(self) -> str:
        """Environment, and every file that it names."""
        return repr(self.found["environment"]) + repr(self.found["told of"])


@pytest.fixture(scope="module")
def seen(real_airflow: RealAirflow, attack_out: AttackOut) -> Seen:
    real_airflow.wait_for_dags("attack_looks")
    run = real_airflow.admin.trigger("attack_looks")
    assert run.end() == "success"
    noted = attack_out.of(run.run_id)
    assert [one.what for one in noted if not one.ok] == []
    return Seen(run, run.task("looks").id, {one.what: one.fields["found"] for one in noted})


def test_al_05_no_key_and_no_password_behind_the_gateway_is_in_what_a_task_is_told(
    seen: Seen, airflow_form: Form, airflow_shop: Shop
) -> None:
    for holder in HOLDERS:
        assert KeyHolder.of(holder, airflow_form, airflow_shop).key not in seen.text
        assert airflow_form.components[holder]["AIRFLOW__TASKGATE__API_KEY_FILE"] not in seen.text
    assert airflow_shop.service_key not in seen.text
    assert CATALOG_PASSWORD not in seen.text
    with_password = [name for name, value in seen.found["environment"].items() if APP_PASSWORD in value]
    # What these tests leave there to show that it is not used: the doctor would say so.
    assert sorted(with_password) == ["AIRFLOW_CONN_DIRECT_DB", "AIRFLOW_CONN_ORDERS_DB"]
    assert not [path for path, text in seen.found["told of"].items() if APP_PASSWORD in text]


def test_under_the_local_executor_a_task_reads_what_the_scheduler_reads(
    seen: Seen, real_airflow: RealAirflow, airflow_place: AirflowPlace
) -> None:
    """Not what one would want, but what is. Whoever has the signing key can be any running task of this Airflow, and
    any person: also one whose answer on Airflow's own page counts. The doctor warns of it (`signing`), docs/airflow.md
    says under which executors it is not so."""
    environment, files = seen.found["environment"], seen.found["told of"]
    assert "PRIVATE KEY" in files[str(real_airflow.keys.private)]
    assert files[str(airflow_place.password_file)] == airflow_place.password_file.read_text()
    assert environment["AIRFLOW__CORE__FERNET_KEY"] == real_airflow.metadata.fernet_key
    # This much Airflow sees to, where the address is in the environment and in no file.
    assert environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == "airflow-db-not-allowed:///"
    assert real_airflow.metadata.url not in seen.text

    alice = TaskTokens(real_airflow.keys).of("alice", aud=real_airflow.keys.api_audience, scope=None, role="user")
    answer = httpx.get(f"{real_airflow.url}/api/v2/dags", headers={"Authorization": f"Bearer {alice}"}, timeout=10)
    assert answer.is_success


def test_al_04_without_its_token_a_task_is_nobody(seen: Seen) -> None:
    assert seen.found["without a token"] == httpx.codes.UNAUTHORIZED


def test_al_05_no_token_that_is_of_use_is_in_a_tasks_process(
    seen: Seen, real_airflow: RealAirflow, airflow_form: Form, airflow_shop: Shop
) -> None:
    """Its supervisor has the token, it has not. What it inherits by forking is what the executor's process had: the
    token of its own start, and those of tasks which that process has run before, in whose place nobody runs now."""
    assert not re.search(r"eyJ[\w-]{10,}\.eyJ", seen.text)
    claims = {}
    for token in (*seen.found["objects"], *seen.found["memory"]):
        with contextlib.suppress(jwt.DecodeError):  # memory that was written over since: no token any more
            claims[token] = jwt.decode(token, options={"verify_signature": False})
    assert {one["scope"] for one in claims.values() if one["sub"] == seen.attempt} == {"workload"}
    thief = KeyHolder.of("api-server", airflow_form, airflow_shop)
    for token, claim in claims.items():
        answer = ExecutionApi(real_airflow.url).connection("shop_db", token)
        assert answer.status_code == httpx.codes.FORBIDDEN or _is_over(airflow_shop, answer.json()["login"]), claim
        assert thief.exchange(token, coordinates(seen.run, "looks")).status_code == httpx.codes.FORBIDDEN


def _is_over(shop: Shop, credential: str) -> bool:
    """An API server hands out again what an ended task held, for its callbacks: it dies all the same."""
    with shop.client() as dana:
        return dana.credential(credential).confined_until is not None
