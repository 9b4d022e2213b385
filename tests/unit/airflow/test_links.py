from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from taskgate_airflow.links import ApprovalLink, GatewaySessionLink
from taskgate_airflow.plugin import TaskgatePlugin
from taskgate_dashboard import asked_task

KEY = SimpleNamespace(
    dag_id="etl", run_id="manual__2026-11-29T00:00:00+00:00", task_id="a.b", map_index=3, try_number=2
)
BOTH = (GatewaySessionLink(), ApprovalLink())


@pytest.fixture
def dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__TASKGATE__DASHBOARD_URL", "https://taskgate.example:8501/")
    monkeypatch.setenv("AIRFLOW__TASKGATE__SOURCE", "prod-airflow")


@pytest.fixture
def plugin() -> type[TaskgatePlugin]:
    """A class of this test's own: loading sets attributes."""
    shown = ("global_operator_extra_links", "external_views", "hook_lineage_readers")
    return type("Plugin", (TaskgatePlugin,), {name: [] for name in shown})


def test_they_name_the_task_and_the_session_its_try(dashboard: None) -> None:
    session, approval = (urlsplit(link.get_link(None, ti_key=KEY)) for link in BOTH)
    assert (session.scheme, session.netloc, session.path) == ("https", "taskgate.example:8501", "/sessions")
    assert approval.path == "/approvals"
    asked = {
        "source": ["prod-airflow"],
        "dag_id": ["etl"],
        "run_id": [KEY.run_id],
        "task_id": ["a.b"],
        "map_index": ["3"],
    }
    assert parse_qs(session.query) == asked | {"try_number": ["2"]}
    assert parse_qs(approval.query) == asked


def test_the_dashboard_reads_every_word_they_use(dashboard: None) -> None:
    known = {*asked_task._TEXTS, *asked_task._NUMBERS}
    for link in BOTH:
        assert set(parse_qs(urlsplit(link.get_link(None, ti_key=KEY)).query)) <= known


def test_names_cannot_change_where_they_lead(dashboard: None) -> None:
    hostile = SimpleNamespace(dag_id="a&source=x#/../", run_id="é ?", task_id="t", map_index=-1, try_number=1)
    for link in BOTH:
        found = urlsplit(link.get_link(None, ti_key=hostile))
        assert parse_qs(found.query)["source"] == ["prod-airflow"]
        assert parse_qs(found.query)["dag_id"] == ["a&source=x#/../"]
        assert found.fragment == ""


@pytest.mark.parametrize("url", ["", "javascript:alert(1)", "taskgate.example"])
def test_without_an_address_they_are_empty(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AIRFLOW__TASKGATE__DASHBOARD_URL", url)
    assert [link.get_link(None, ti_key=KEY) for link in BOTH] == ["", ""]


def test_without_a_source_the_task_is_asked_for_by_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__TASKGATE__DASHBOARD_URL", "http://127.0.0.1:8501")
    assert "source" not in parse_qs(urlsplit(BOTH[0].get_link(None, ti_key=KEY)).query)


def test_the_plugin_shows_nothing_until_it_is_configured(plugin: Any) -> None:
    plugin.on_load()
    assert plugin.global_operator_extra_links == []
    assert plugin.external_views == []
    assert plugin.hook_lineage_readers == []


def test_configured_every_task_has_the_links_and_the_nav_an_entry(dashboard: None, plugin: Any) -> None:
    plugin.on_load()
    assert [link.name for link in plugin.global_operator_extra_links] == ["Gateway session", "Approval"]
    (view,) = plugin.external_views
    assert view == {"name": "Taskgate", "href": "https://taskgate.example:8501", "destination": "nav"}
    assert "url_route" not in view  # with one, Airflow would show it in a frame
    assert TaskgatePlugin.external_views == []


def test_airflow_takes_the_plugin_and_serves_the_links(dashboard: None, tmp_path: Path) -> None:
    """In a process of its own: Airflow loads its plugins once."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "taskgate_plugin.py").write_text("from taskgate_airflow.plugin import TaskgatePlugin\n")
    script = """
import json
from types import SimpleNamespace
from airflow import plugins_manager
from airflow.api_fastapi.core_api.datamodels.plugins import PluginResponse
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG
try:
    from airflow.serialization.serialized_objects import DagSerialization
except ImportError:  # before 3.2
    from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization

with DAG("d", schedule=None) as dag:
    BashOperator(task_id="t", bash_command="true")
    BashOperator.partial(task_id="m").expand(bash_command=["true"])
dag = DagSerialization.from_dict(DagSerialization.to_dict(dag))
key = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1)
links = {
    task_id: {name: dag.get_task(task_id).get_extra_links(SimpleNamespace(key=key), name)
              for name in dag.get_task(task_id).extra_links}
    for task_id in ("t", "m")
}
plugin = next(one for one in plugins_manager.get_plugin_info() if one["name"] == "taskgate")
shown = PluginResponse.model_validate(plugin)
print(json.dumps({"links": links, "views": [view.model_dump() for view in shown.external_views]}))
"""
    environment = os.environ | {"AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for links in found["links"].values():
        assert set(links) >= {"Gateway session", "Approval"}
        assert links["Approval"].startswith("https://taskgate.example:8501/approvals?source=prod-airflow&dag_id=d&")
    (view,) = found["views"]
    assert (view["href"], view["url_route"]) == ("https://taskgate.example:8501", None)
