"""The control API put together: `create_app(control_plane)`.

A request passes, from the outside: RequestContext (id, headers, log, stray errors) → BodyLimit → Authentication →
routing → the router's own check of the caller and the query → the route's scope → the route.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from taskgate import __version__
from taskgate.api import health, problems
from taskgate.api.authentication import (
    ApiKeyAuthenticator,
    AuthenticationMiddleware,
    Authenticator,
    CredentialAuthenticator,
    Requires,
    RunAuthenticator,
    authenticated,
    own_run,
    own_task,
)
from taskgate.api.control_plane import ControlPlane
from taskgate.api.dependencies import refuse_unknown_query
from taskgate.api.heavy import HeavyWork
from taskgate.api.inquiries import Inquiries
from taskgate.api.long_polls import LongPolls
from taskgate.api.middleware import BodyLimit, RequestContext
from taskgate.api.routes import (
    api_keys,
    approval_feed,
    approvals,
    attempt,
    credentials,
    policy,
    prefect,
    recordings,
    sessions,
    targets,
)
from taskgate.client.models import Problem
from taskgate.identity.scopes import Scope

ROUTERS: Sequence[APIRouter] = (
    targets.router,
    credentials.router,
    prefect.router,
    approval_feed.router,  # before the approvals: `watch` is no approval's id
    approvals.router,
    sessions.router,
    recordings.router,
    policy.router,
    api_keys.router,
)
TASK_ROUTERS: Sequence[APIRouter] = (attempt.router,)
"""For tasks, with the credential of the data path: they reach these and none of the others, and nobody else does."""
RUN_ROUTERS: Sequence[APIRouter] = (prefect.run_router,)
"""The same for flow runs, with what their worker gave them."""

_PROBLEM: dict[str, Any] = {
    "description": "What went wrong (RFC 9457).",
    "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def create_app(control_plane: ControlPlane, authenticators: Sequence[Authenticator] = ()) -> FastAPI:
    """The API of one gateway process. `authenticators` are asked, in order, after the gateway's own keys and
    credentials."""
    app = FastAPI(
        title="Taskgate control API",
        version=__version__,
        description="How people, services and tools manage the gateway. Every error is `application/problem+json`.",
        openapi_url="/v1/openapi.json",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.control_plane = control_plane
    app.state.heavy_work = HeavyWork()
    app.state.long_polls = LongPolls()
    app.state.inquiries = Inquiries()
    problems.install(app)
    app.include_router(health.router)
    for router in ROUTERS:
        app.include_router(router, prefix="/v1", dependencies=[Depends(authenticated), Depends(refuse_unknown_query)])
    for router in TASK_ROUTERS:
        app.include_router(router, prefix="/v1", dependencies=[Depends(own_task), Depends(refuse_unknown_query)])
    for router in RUN_ROUTERS:
        app.include_router(router, prefix="/v1", dependencies=[Depends(own_run), Depends(refuse_unknown_query)])
    known: tuple[Authenticator, ...] = (
        ApiKeyAuthenticator(control_plane.api_keys),
        CredentialAuthenticator(control_plane.credentials),
        RunAuthenticator(control_plane.orchestrators.registered),
        *authenticators,
    )
    app.add_middleware(AuthenticationMiddleware, authenticators=known)
    app.add_middleware(BodyLimit)
    app.add_middleware(RequestContext, metrics=control_plane.metrics)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def required_scope(dependant: Dependant) -> Scope | None:
    """The scope a route asks for; None where any key will do."""
    if isinstance(dependant.call, Requires):
        return dependant.call.scope
    return next((scope for inner in dependant.dependencies if (scope := required_scope(inner))), None)


def is_for(who: Callable[..., object], dependant: Dependant) -> bool:
    """Whether the route answers only `own_task` or `own_run`: a task, or a flow run's process, about itself."""
    return dependant.call is who or any(is_for(who, inner) for inner in dependant.dependencies)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's description, with every error as it is really answered and the scope each route needs."""
    if app.openapi_schema:
        return app.openapi_schema
    schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components = schema.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        components.pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components.update(problem.pop("$defs", {}))
    components["Problem"] = problem
    for route in app.routes:
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        for method in route.methods:
            operation = schema["paths"][route.path_format][method.lower()]
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = _PROBLEM
            if route.path.startswith("/v1/"):
                operation["x-required-scope"] = required_scope(route.dependant)
    app.openapi_schema = schema
    return schema
