from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from taskgate.api.control_plane import Check
from tests.unit.api.conftest import ClientFor
from tests.unit.api.control_plane import Plane


async def test_alive(client_for: ClientFor) -> None:
    response = await client_for(None).get("/healthz")
    assert (response.status_code, response.text) == (200, "ok")


async def test_ready_lists_every_check(client_for: ClientFor) -> None:
    response = await client_for(None).get("/readyz")
    assert response.status_code == 200
    assert response.json() == {
        "ready": True,
        "checks": [
            {"name": "store", "ok": True, "reason": None},
            {"name": "journal", "ok": True, "reason": None},
        ],
    }


async def test_not_ready_says_why(client_for: ClientFor, plane: Plane) -> None:
    plane.checks["journal"] = Check(False, "the disk is full")
    response = await client_for(None).get("/readyz")
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "1"
    assert response.json()["detail"] == "not ready (journal: the disk is full)"
    assert {"name": "store", "ok": True, "reason": None} in response.json()["checks"]


async def test_metrics_are_what_prometheus_reads(client_for: ClientFor, plane: Plane) -> None:
    plane.metrics.action("orders-db", "allow", ["sql.select"])
    plane.metrics.gauge("taskgate_sessions_open", "Sessions open.", lambda: {("orders-db",): 3.0}, ("target",))
    response = await client_for(None).get("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    assert families["taskgate_actions"].samples[0].labels == {
        "target": "orders-db",
        "verdict": "allow",
        "effect": "sql.select",
    }
    assert families["taskgate_sessions_open"].samples[0].value == 3.0
    assert "process_resident_memory_bytes" in families
