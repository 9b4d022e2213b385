"""AL-05: after DAGs of every kind, no usable secret and no masked value is in anything that Airflow or the gateway has
written: metadata (every table, Fernet undone), logs of tasks and components, XCom, triggers' arguments, the gateway's
log and files, recordings as they lie there and as they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from taskgate.client import SessionFilter
from taskgate.demo import data
from tests.e2e.airflow_api import Run
from tests.e2e.airflow_forms import Form
from tests.e2e.airflow_keyholders import HOLDERS, KeyHolder
from tests.e2e.airflow_tokens import ExecutionApi, TaskTokens
from tests.e2e.airflow_traces import Trace, Traces, places
from tests.e2e.approval_runs import ask
from tests.e2e.real_airflow import RealAirflow
from tests.e2e.shop import APP_PASSWORD, CATALOG_PASSWORD, Shop

pytestmark = pytest.mark.timeout(400)

VALUES = "SELECT email, card, ssn FROM public.customers ORDER BY id"
QUOTED_BY_AN_ERROR = "SELECT ssn::int FROM public.customers"


@dataclass(frozen=True)
class Story:
    """DAGs that have run, everything they left, and `triggers`: what metadata held while one of them was deferred."""

    runs: dict[str, Run]
    traces: Traces
    triggers: list[Trace]
    issued: dict[str, str]
    """task of a DAG → the secret of the credential it was given."""


@pytest.fixture(scope="module")
def story(real_airflow: RealAirflow, airflow_shop: Shop) -> Iterator[Story]:
    admin = real_airflow.admin
    real_airflow.wait_for_dags("orders_cleanup", "attack_reads", "attack_defers", "attack_callbacks", "approvals_page")
    traces = Traces(real_airflow, airflow_shop)
    orders = airflow_shop.query("SELECT * FROM public.orders")
    with airflow_shop.approver(lambda approval: True):
        runs = {
            "defers": admin.trigger("attack_defers", {"seconds": 15}),
            "cleanup": admin.trigger("orders_cleanup"),
            "questions": admin.trigger("questions"),
            "page": ask(real_airflow, airflow_shop, "approvals_page", "awaiting_input").run,
            "reads": admin.trigger("attack_reads", {"sql": VALUES}),
            "errs": admin.trigger("attack_reads", {"sql": QUOTED_BY_AN_ERROR}),
            "callbacks": admin.trigger("attack_callbacks", {"fails": "once"}),
        }
        runs["defers"].wait("selects", "deferred")
        triggers = traces.metadata()
        runs["questions"].wait("asks", "awaiting_input")
        real_airflow.api("alice").run("questions", runs["questions"].run_id).answer("asks", ["yes"])
        for run in runs.values():
            run.end()
    yield Story(runs, traces, triggers, _issued(real_airflow, runs))
    with psycopg.connect(airflow_shop.server.dsn(data.DATABASE), autocommit=True) as admin_of_shop:
        put_back = "INSERT INTO public.orders VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
        admin_of_shop.cursor().executemany(put_back, orders)  # other tests count them


def _issued(airflow: RealAirflow, runs: dict[str, Run]) -> dict[str, str]:
    """The API server hands out again what it has, to whom it gave it: here to the tests, who sign like Airflow."""
    tokens, api = TaskTokens(airflow.keys), ExecutionApi(airflow.url)
    found = {}
    for run in runs.values():
        for task in run.tasks():
            answer = api.connection("orders_db", tokens.of(task.id))
            if answer.is_success:
                found[f"{run.dag_id}.{task.task_id}"] = answer.json()["password"]
    return found


def test_the_search_finds_what_is_there(story: Story) -> None:
    """Else it would not have to find anything below."""
    metadata, logs, gateway = story.traces.metadata(), story.traces.logs(), list(story.traces.gateway())
    run_id = story.runs["reads"].run_id
    assert {"metadata:dag_run", "metadata:task_instance", "metadata:xcom"} <= places(metadata, run_id)
    assert places(logs, run_id)
    assert "gateway:gateway.log" in places(gateway, run_id)
    assert any(one.place == "metadata:trigger" and one.has("SelectTrigger") for one in story.triggers)
    assert "metadata:trigger" in places(story.triggers, "SELECT count(*) FROM public.orders"), "its kwargs, in clear"
    assert "metadata:hitl_detail" in places(metadata, "Shall it be?")
    assert "metadata:hitl_detail" in places(metadata, "approvals_page.changes")
    assert {"orders_cleanup.delete_old_orders_governed", "attack_reads.publishes"} <= set(story.issued)
    assert len(set(story.issued.values())) == len(story.issued)


def test_al_05_no_secret_that_lasts_is_anywhere(
    story: Story, airflow_form: Form, airflow_shop: Shop, real_airflow: RealAirflow
) -> None:
    keys = [KeyHolder.of(holder, airflow_form, airflow_shop).key for holder in HOLDERS]
    lasting = [key.partition(".")[2] for key in (*keys, airflow_shop.service_key, airflow_shop.dana)]
    assert all(lasting)
    lasting += [APP_PASSWORD, CATALOG_PASSWORD, *real_airflow.passwords.values()]
    lasting += real_airflow.keys.private.read_text().splitlines()[1:2]
    everything = [*story.triggers, *story.traces.metadata(), *story.traces.logs(), *story.traces.gateway()]
    assert places(everything, *lasting) == set()
    assert places(story.traces.recordings(_sessions(story, airflow_shop)), *lasting) == set()


def test_al_05_what_was_issued_is_only_where_its_own_task_published_it(story: Story, airflow_shop: Shop) -> None:
    published = story.issued["attack_reads.publishes"]
    kept = [secret for secret in story.issued.values() if secret != published]
    everything = [*story.triggers, *story.traces.metadata(), *story.traces.logs(), *story.traces.gateway()]
    assert len(kept) > 4
    assert places(everything, *kept) == set()
    found = places(everything, published)
    # The LocalExecutor repeats in its own output what tasks log, and there Airflow masks nothing.
    assert {one.partition("/")[0] for one in found} == {"metadata:xcom", "log:logs", "log:scheduler.log"}
    of_tasks = {one for one in found if one.startswith("log:logs/")}
    assert all("task_id=publishes" in one for one in of_tasks)
    assert not [one for one in story.traces.logs() if one.place in of_tasks and published.encode() in one.text]
    with airflow_shop.client() as dana:
        for run in story.runs.values():
            for task in run.tasks():
                assert all(one.confined_until for one in dana.credentials(attempt=task.id)), task.task_id


def test_al_05_no_masked_value_is_anywhere(story: Story, airflow_shop: Shop) -> None:
    customers = list(data.customers(200))
    masked = [value for _, _, email, card, ssn, _ in customers for value in (email, card, ssn)]
    everything = [*story.triggers, *story.traces.metadata(), *story.traces.logs(), *story.traces.gateway()]
    assert places(everything, *masked) == set()
    assert places(story.traces.recordings(_sessions(story, airflow_shop)), *masked) == set()
    assert "metadata:xcom" in places(everything, customers[0][1]), "the names beside them, which are not masked"


def _sessions(story: Story, shop: Shop) -> list[str]:
    with shop.client() as dana:
        found = [one.id for run in story.runs.values() for one in dana.sessions(SessionFilter(run_id=run.run_id))]
    assert len(found) > 8
    return found
