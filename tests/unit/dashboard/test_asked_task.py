"""The pages as Airflow's links open them: filtered to a task, until somebody drops that."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from taskgate.client import SessionFilter
from taskgate_dashboard.asked_task import AskedTask
from tests.e2e.control_api_stand_in import ControlApi
from tests.unit.dashboard.conftest import html

TASK = {"source": "demo-airflow", "dag_id": "orders_cleanup", "map_index": "-1"}


@pytest.fixture
def run_id(api: ControlApi) -> str:
    return str(api.sessions["ses_drop"]["principal"]["attempt"]["task"]["run_id"])


def test_sessions_of_one_task(run_id: str, open_page: Callable[..., AppTest]) -> None:
    app = open_page("sessions", **TASK, run_id=run_id, task_id="drop_orders", try_number="1")
    assert not app.exception
    assert list(app.dataframe[0].value["Task"]) == ["drop_orders"]
    shown = html(app)
    for words in ("source demo-airflow", "DAG or flow orders_cleanup", f"run {run_id}", "task drop_orders", "try 1"):
        assert f">{words}<" in shown
    assert "map index" not in shown


def test_another_try_is_another_list(run_id: str, open_page: Callable[..., AppTest]) -> None:
    app = open_page("sessions", **TASK, run_id=run_id, task_id="drop_orders", try_number="2")
    assert "No session matches" in html(app)


def test_another_airflows_task_of_the_same_name_is_not_shown(run_id: str, open_page: Callable[..., AppTest]) -> None:
    app = open_page("sessions", **TASK | {"source": "other"}, run_id=run_id, task_id="drop_orders")
    assert "No session matches" in html(app)


def test_the_filter_is_dropped_with_one_click(run_id: str, open_page: Callable[..., AppTest]) -> None:
    app = open_page("sessions", **TASK, run_id=run_id, task_id="drop_orders")
    app.button(key="drop-task").click().run()
    assert not app.exception
    assert len(app.dataframe[0].value) == 3
    assert "Only of" not in html(app)
    assert not set(TASK) & set(app.query_params)


def test_the_other_filters_narrow_it(run_id: str, open_page: Callable[..., AppTest]) -> None:
    app = open_page("sessions", **TASK, run_id=run_id)
    assert len(app.dataframe[0].value) == 3
    app.text_input(key="name").set_value("read_").run()
    assert list(app.dataframe[0].value["Task"]) == ["read_customers"]


def test_approvals_of_one_task_in_any_state(api: ControlApi, run_id: str, open_page: Callable[..., AppTest]) -> None:
    api.decide(next(iter(api.approvals)), True, "user:erin")
    task = next(iter(api.approvals.values()))["principal"]["attempt"]["task"]
    app = open_page("approvals", **{name: str(value) for name, value in task.items()})
    assert not app.exception
    opened = [str(button.key) for button in app.button if str(button.key).startswith("open-")]
    of_task = [one for one in api.approvals.values() if one["principal"]["attempt"]["task"] == task]
    assert len(opened) == len(of_task) >= 1
    shown = html(app)
    assert f">task {task['task_id']}<" in shown
    assert "approved" in shown
    app.button(key=opened[0]).click().run()
    assert app.query_params["id"] == opened[0].removeprefix("open-")
    app.button(key="drop-task").click().run()
    assert "Only of" not in html(app)
    assert app.query_params["id"]  # the request that was picked stays


def test_a_task_that_asked_for_nothing(open_page: Callable[..., AppTest]) -> None:
    assert "This task has asked for nothing." in html(open_page("approvals", **TASK, task_id="nothing"))


def test_what_a_link_says_is_shown_as_text(open_page: Callable[..., AppTest]) -> None:
    shown = html(open_page("sessions", dag_id="<img src=x>\u202e", map_index="five", try_number=""))
    assert "<img" not in shown
    assert "&lt;img src=x&gt;" in shown
    assert ">U+202E</span>" in shown


def test_every_part_is_the_gateways_filter_but_the_try() -> None:
    asked = AskedTask("a", "b", "c", "d", 5, 2)
    assert asked.sessions(SessionFilter(name="n")) == SessionFilter(
        name="n", source="a", dag_id="b", run_id="c", task_id="d", map_index=5
    )
