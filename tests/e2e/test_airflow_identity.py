"""Who a task is, in Airflow's real processes: proven by its own token, with no key on any worker."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from taskgate.client import models
from tests.e2e.airflow_api import Run
from tests.e2e.attack_out import AttackOut, Noted
from tests.e2e.real_airflow import RealAirflow
from tests.e2e.shop import APP_PASSWORD, Shop

pytestmark = pytest.mark.timeout(400)


def credentials_of(shop: Shop, attempt: str) -> list[models.Credential]:
    with shop.client() as client:
        return list(client.credentials(attempt=attempt))


def sessions_of(shop: Shop, run_id: str) -> list[models.Session]:
    from taskgate.client import SessionFilter

    with shop.client() as client:
        return list(client.sessions(SessionFilter(run_id=run_id)))


def noted(airflow: RealAirflow, out: AttackOut, run_id: str, what: str, seconds: float = 60) -> Noted:
    def there() -> list[Noted]:
        return out.of(run_id, what)

    found: list[Noted] = airflow.until(there, seconds)
    return found[-1]


@pytest.fixture(scope="module")
def reading(real_airflow: RealAirflow) -> Run:
    real_airflow.wait_for_dags("attack_reads")
    run = real_airflow.admin.trigger("attack_reads")
    assert run.end() == "success"
    return run


def test_a_task_is_verified_and_no_worker_has_a_key(
    real_airflow: RealAirflow, airflow_shop: Shop, attack_out: AttackOut, reading: Run
) -> None:
    run = reading
    orders = airflow_shop.query("SELECT count(*) FROM orders")
    assert attack_out.of(run.run_id, "takes")[0].fields["found"] == list(orders[0])
    (session,) = [one for one in sessions_of(airflow_shop, run.run_id) if one.principal.name == "attack_reads.takes"]
    who, task = session.principal, run.task("takes")
    assert (who.assurance, who.source) == ("verified", "demo-airflow")
    assert who.verified_by == "airflow:demo-airflow, by its token"
    assert who.attempt is not None
    assert (who.attempt.id, who.attempt.try_number) == (task.id, 1)
    expected = {"run_type": "manual", "triggering_user": "admin", "queue": "default", "owner": "airflow"}
    assert {name: who.attributes[name] for name in expected} == expected
    assert who.attributes["bundle"] == "dags-folder"
    assert who.attributes["dag_version"] == 1
    for component, of in real_airflow.components.items():
        keys = [name for name in of.environment if "API_KEY" in name]
        assert bool(keys) is (component in ("api-server", "triggerer")), component


def test_a_connection_of_another_task_is_ones_own_principal(
    real_airflow: RealAirflow, airflow_shop: Shop, attack_out: AttackOut
) -> None:
    """There is no access list for connections: policy says what this task may do, whoever the connection was meant
    for."""
    real_airflow.wait_for_dags("attack_reads")
    sql = "SELECT count(*) FROM public.twin_rows"
    run = real_airflow.admin.trigger("attack_reads", {"conn_id": "shop_db", "sql": sql})
    assert run.end() == "success"
    assert attack_out.of(run.run_id, "takes")[0].ok
    names = {one.principal.name for one in sessions_of(airflow_shop, run.run_id)}
    assert names == {"attack_reads.takes"}


def _import_error(airflow: RealAirflow, name: str) -> str | None:
    return next((text for file, text in airflow.admin.import_errors().items() if name in file), None)


def test_code_at_the_top_of_a_file_is_denied_with_the_reason(real_airflow: RealAirflow) -> None:
    real_airflow.admin.set_variable("attack_top_level_conn", "orders_db")
    try:
        error = real_airflow.until(
            lambda: next(
                (text for file, text in real_airflow.admin.import_errors().items() if "top_level" in file), ""
            ),
            90,
        )
    finally:
        real_airflow.admin.call("DELETE", "/variables/attack_top_level_conn")
    assert "orders_db" in error
    assert APP_PASSWORD not in error
    real_airflow.until(lambda: not real_airflow.admin.import_errors(), 90)


@pytest.mark.parametrize(
    ("fails", "called", "state"),
    [
        ("never", ["success"], "success"),
        ("once", ["retry", "success"], "success"),
        ("always", ["retry", "failure"], "failed"),
    ],
)
def test_callbacks_read_a_while_and_write_nothing_and_those_of_the_dag_get_nothing(
    real_airflow: RealAirflow, attack_out: AttackOut, fails: str, called: list[str], state: str
) -> None:
    real_airflow.wait_for_dags("attack_callbacks")
    run = real_airflow.admin.trigger("attack_callbacks", {"fails": fails})
    assert run.end() == state
    of_dag = f"dag {'failure' if state == 'failed' else 'success'}: asked anew"
    assert not noted(real_airflow, attack_out, run.run_id, of_dag).ok
    outcomes = attack_out.outcomes(run.run_id)
    assert outcomes["task: read"]
    assert outcomes["task: write"]
    for kind in called:
        found = {what.removeprefix(f"{kind}: "): ok for what, ok in outcomes.items() if what.startswith(f"{kind}: ")}
        # Airflow is told of success and of a retry before the callbacks run, of failure only once the process has
        # ended: until then the task runs, for Airflow and for the gateway.
        over = kind != "failure"
        assert found == {
            "called": True,
            "held read": True,
            "held write": not over,
            "same hook read": True,
            "same hook write": not over,
            "asked anew": True,
        }
        (written,) = attack_out.of(run.run_id, f"{kind}: same hook write")
        assert ("its callbacks may only read" in written.error) is over


END: dict[str, Callable[[RealAirflow, Any], None]] = {
    "cleared": lambda airflow, run: run.clear("sleeps"),
    "marked failed": lambda airflow, run: run.mark("sleeps", "failed"),
    "marked success": lambda airflow, run: run.mark("sleeps", "success"),
}


def test_al_03_whoever_ends_the_attempt_what_it_holds_dies_although_its_process_goes_on(
    real_airflow: RealAirflow, attack_out: AttackOut
) -> None:
    """No listener runs here: a child has left the task's process group, and goes on."""
    real_airflow.wait_for_dags("attack_sleeps")
    runs = {end: real_airflow.admin.trigger("attack_sleeps", {"seconds": 60, "detached": True}) for end in END}
    for end, run in runs.items():
        noted(real_airflow, attack_out, run.run_id, "new")
        END[end](real_airflow, run)
    ended = time.time()
    time.sleep(20)  # its check every two seconds, ten more to read
    for end, run in runs.items():
        lines = [one for one in attack_out.of(run.run_id) if one.what in ("held", "new")]
        child = lines[0].fields["pid"]  # a cleared task's next try has a child of its own, and may read
        late = [one for one in lines if one.fields["pid"] == child and one.at > ended + 18]
        assert late, end
        assert not [one for one in late if one.ok], end
        run.mark_run("failed")


def test_a_trigger_is_delegated_what_its_worker_held_and_nothing_else(
    real_airflow: RealAirflow, airflow_shop: Shop, attack_out: AttackOut
) -> None:
    real_airflow.wait_for_dags("attack_defers")
    run = real_airflow.admin.trigger("attack_defers")
    other = real_airflow.admin.trigger("attack_defers", {"trigger_conn_id": "shop_db"})
    nothing_held = real_airflow.admin.trigger("attack_defers", {"conn_id": None})
    for one in (run, other, nothing_held):
        one.end()
    assert attack_out.outcomes(run.run_id) == {"worker": True, "trigger": True, "resumed": True}
    assert {one.principal.assurance for one in sessions_of(airflow_shop, run.run_id)} == {"verified", "delegated"}
    for one in (other, nothing_held):
        assert not attack_out.outcomes(one.run_id)["trigger"]


def test_al_05_what_a_task_publishes_is_worth_nothing_soon(
    real_airflow: RealAirflow, airflow_shop: Shop, attack_out: AttackOut, reading: Run
) -> None:
    """XCom and reversed text get past every mask of Airflow's: what is in them dies with the attempt. Last, since it
    takes a minute to die."""
    run = reading
    (published,) = attack_out.of(run.run_id, "publishes")
    host, port, database, user, password = published.fields["found"]
    assert password != APP_PASSWORD
    assert password in str(run.xcom("publishes"))

    def refused() -> bool:
        try:
            with psycopg.connect(
                host=host, port=port, dbname=database, user=user, password=password, connect_timeout=5
            ) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError as error:
            return "password authentication failed" in str(error)
        return False

    real_airflow.until(refused, 75)
    attempt = run.task("publishes").id
    assert all(one.confined_until for one in credentials_of(airflow_shop, attempt))
    again = real_airflow.admin.trigger("attack_reads", {"stolen": published.fields["found"]})
    assert again.end() == "success"
    assert not attack_out.of(again.run_id, "replays")[0].ok
