"""The attack DAGs do what they say where nothing stops them: with a stored connection, past the gateway.

A test that shows an attack failing is worth something only because it works here."""

from __future__ import annotations

import pytest

from tests.e2e.attack_out import AttackOut
from tests.e2e.real_airflow import RealAirflow
from tests.e2e.shop import APP_PASSWORD, Shop

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture
def orders(airflow_shop: Shop) -> int:
    """How many there are now: tests before may have deleted some."""
    ((count,),) = airflow_shop.query("SELECT count(*) FROM orders")
    return int(count)


def test_a_task_reads_any_connection_and_publishes_it(
    real_airflow: RealAirflow, attack_out: AttackOut, orders: int
) -> None:
    real_airflow.wait_for_dags("attack_reads")
    run = real_airflow.admin.trigger("attack_reads", {"conn_id": "direct_db"})
    assert run.end() == "success"
    (taken,), (published,) = attack_out.of(run.run_id, "takes"), attack_out.of(run.run_id, "publishes")
    assert taken.fields["found"] == [orders]
    assert published.fields["found"][-1] == APP_PASSWORD
    assert APP_PASSWORD in str(run.xcom("publishes"))
    assert "xcom" in real_airflow.metadata.containing(APP_PASSWORD)
    log = run.log("publishes")
    assert APP_PASSWORD not in log
    assert APP_PASSWORD[::-1] in log

    again = real_airflow.admin.trigger("attack_reads", {"conn_id": "direct_db", "stolen": published.fields["found"]})
    assert again.end() == "success"
    assert attack_out.of(again.run_id, "replays")[0].fields["found"] == [orders]


def test_code_at_the_top_of_a_file_reads_a_connection(real_airflow: RealAirflow) -> None:
    real_airflow.admin.set_variable("attack_top_level_conn", "direct_db")
    try:
        real_airflow.until(
            lambda: "taskgate_app" in (real_airflow.admin.call("GET", "/dags/attack_top_level")["description"] or ""),
            60,
        )
    finally:
        real_airflow.admin.call("DELETE", "/variables/attack_top_level_conn")
    assert real_airflow.admin.import_errors() == {}


@pytest.mark.parametrize(
    ("fails", "called", "state"),
    [
        ("never", ["success"], "success"),
        ("once", ["retry", "success"], "success"),
        ("always", ["retry", "failure"], "failed"),
    ],
)
def test_callbacks_read_and_write_with_what_their_task_held(
    real_airflow: RealAirflow, attack_out: AttackOut, fails: str, called: list[str], state: str
) -> None:
    real_airflow.wait_for_dags("attack_callbacks")
    run = real_airflow.admin.trigger("attack_callbacks", {"conn_id": "direct_db", "fails": fails})
    assert run.end() == state
    of_dag = f"dag {'failure' if state == 'failed' else 'success'}: asked anew"
    real_airflow.until(lambda: attack_out.of(run.run_id, of_dag), 60)
    ways = ("called", "held read", "held write", "same hook read", "same hook write", "asked anew")
    assert attack_out.outcomes(run.run_id) == {
        "task: read": True,
        "task: write": True,
        **{f"{kind}: {way}": True for kind in called for way in ways},
        of_dag: True,
    }


def test_a_task_that_was_marked_failed_goes_on_in_a_process_of_its_own(
    real_airflow: RealAirflow, attack_out: AttackOut
) -> None:
    real_airflow.wait_for_dags("attack_sleeps")
    run = real_airflow.admin.trigger("attack_sleeps", {"conn_id": "direct_db", "detached": True, "seconds": 25})
    run.wait("sleeps", "running")
    real_airflow.until(lambda: len(attack_out.of(run.run_id, "new")) > 1, 60)
    run.mark("sleeps", "failed")
    assert run.end() == "failed"
    before = len(attack_out.of(run.run_id, "new"))
    real_airflow.until(lambda: len(attack_out.of(run.run_id, "new")) > before + 20, 60)
    assert all(one.ok for one in attack_out.of(run.run_id))


@pytest.mark.parametrize("worker", ["direct_db", None])
def test_a_trigger_selects_in_the_triggerer(
    real_airflow: RealAirflow, attack_out: AttackOut, worker: str | None, orders: int
) -> None:
    real_airflow.wait_for_dags("attack_defers")
    conf = {"conn_id": worker, "trigger_conn_id": "direct_db", "seconds": 12}
    run = real_airflow.admin.trigger("attack_defers", conf)
    waiting = run.wait("selects", "deferred")
    assert waiting.trigger is not None
    assert waiting.trigger["classpath"] == "attack_triggers.SelectTrigger"
    assert run.end() == ("success")
    selected = attack_out.of(run.run_id, "trigger")
    assert len(selected) > 3
    assert all(one.fields["found"] == ["taskgate_app", orders] for one in selected)
    triggerer = real_airflow.components["triggerer"]
    assert {one.fields["pid"] for one in selected} <= {one.pid for one in triggerer.processes()}
    assert attack_out.outcomes(run.run_id) == {"trigger": True, "resumed": worker is not None} | (
        {"worker": True} if worker else {}
    )
