"""What the plugin shows in Airflow, and reads of it, once `[taskgate]` says where: nothing before that."""

from __future__ import annotations

from typing import Any

from taskgate_airflow.options import control_api, option


def extend(plugin: Any) -> None:
    """Called when Airflow has loaded the plugin: in the API server, and in each process that runs a task."""
    if control_api() is not None:
        from taskgate_airflow.compat import hook_lineage_readers

        # Airflow's hooks report what they touched only where somebody reads it: `task_report` does.
        plugin.hook_lineage_readers = hook_lineage_readers()
    if option("dashboard_url"):
        from taskgate_airflow.links import ApprovalLink, GatewaySessionLink, dashboard_url

        if url := dashboard_url():
            plugin.global_operator_extra_links = [GatewaySessionLink(), ApprovalLink()]
            # Without `url_route` Airflow opens it in a tab of its own: signed-in pages do not belong in frames.
            plugin.external_views = [{"name": "Taskgate", "href": url, "destination": "nav"}]
