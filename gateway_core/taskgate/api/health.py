"""Is the process alive, is it ready, what does it count. Open to anybody, so nothing here names a host or a person."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from taskgate.api.dependencies import Plane
from taskgate.api.problems import MEDIA_TYPE
from taskgate.client import models

router = APIRouter(tags=["health"])


@router.get("/healthz", response_class=PlainTextResponse)
async def alive() -> str:
    """The process answers. Says nothing about whether it can do its work: that is /readyz."""
    return "ok"


@router.get(
    "/readyz",
    response_model=models.Readiness,
    responses={503: {"description": "Not ready; `checks` says what is missing.", "content": {MEDIA_TYPE: {}}}},
)
async def ready(plane: Plane) -> Response:
    """Whether a new session would be let in, check by check."""
    found = await plane.readiness()
    checks = [models.ReadinessCheck(name=name, ok=check.ok, reason=check.reason) for name, check in found.items()]
    failing = [check for check in checks if not check.ok]
    if not failing:
        return JSONResponse(models.Readiness(ready=True, checks=checks).model_dump())
    reasons = "; ".join(f"{check.name}: {check.reason or 'not ready'}" for check in failing)
    problem = {
        "type": "urn:taskgate:problem:not_ready",
        "title": "Service Unavailable",
        "status": 503,
        "detail": f"not ready ({reasons})",
        "code": "not_ready",
        "checks": [check.model_dump() for check in checks],
    }
    return JSONResponse(problem, 503, headers={"Retry-After": "1"}, media_type=MEDIA_TYPE)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(plane: Plane) -> Response:
    """Prometheus text format. Its labels are closed sets and names from the settings."""
    return Response(generate_latest(plane.metrics.registry), media_type=CONTENT_TYPE_LATEST)
