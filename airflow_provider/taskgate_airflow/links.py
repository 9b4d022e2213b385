"""Links from Airflow's task instances to the dashboard: "Gateway session" and "Approval".

They are worked out by the API server from its own configuration and the task instance's key, nothing else: no XCom that
a task could write, nothing to ask. The dashboard shows what there is for that task.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from airflow.sdk import BaseOperatorLink

from taskgate_airflow.options import option


def dashboard_url() -> str | None:
    """`[taskgate] dashboard_url`; None where it is not set, or is no http address (a browser would run others)."""
    url = (option("dashboard_url") or "").rstrip("/")
    return url if url.startswith(("https://", "http://")) else None


class DashboardLink(BaseOperatorLink):
    """A page of the dashboard, filtered to one try of a task. Empty where no dashboard is configured."""

    page = ""

    @property
    def name(self) -> str:
        raise NotImplementedError

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """`operator` is not looked at."""
        url = dashboard_url()
        if url is None:
            return ""
        asked = {
            "source": option("source"),
            "dag_id": ti_key.dag_id,
            "run_id": ti_key.run_id,
            "task_id": ti_key.task_id,
            "map_index": ti_key.map_index,
            **self.of_the_try(ti_key),
        }
        query = urlencode({name: value for name, value in asked.items() if value is not None}, quote_via=quote)
        return f"{url}/{self.page}?{query}"

    def of_the_try(self, ti_key: Any) -> dict[str, Any]:
        """What else the page is asked for, where it differs from try to try."""
        return {}


class GatewaySessionLink(DashboardLink):
    """What this try did: its sessions, recorded statement by statement."""

    name = "Gateway session"
    page = "sessions"

    def of_the_try(self, ti_key: Any) -> dict[str, Any]:
        return {"try_number": ti_key.try_number}


class ApprovalLink(DashboardLink):
    """What the task asked people for. Approvals belong to the task of the run, not to one try."""

    name = "Approval"
    page = "approvals"
