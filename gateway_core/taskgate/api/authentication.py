"""Who asks. Every request but those to the open paths carries a bearer token that an `Authenticator` knows.

The middleware refuses before anything is parsed or routed, so that a route cannot be left open by mistake; the router's
dependency refuses once more, so that a path cannot be let past the middleware by mistake either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Protocol

import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from taskgate.api.problems import ApiProblem, not_permitted, problem_response
from taskgate.domain import Assurance, Principal, PrincipalKind
from taskgate.identity.api_keys import ApiKeys
from taskgate.identity.credentials import Credentials
from taskgate.identity.registered_runs import RegisteredRun, RegisteredRuns
from taskgate.identity.scopes import Scope, permits

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics", "/v1/openapi.json"})
"""What answers without a key: liveness, readiness (names of checks only), metrics (closed label sets) and the API's
own description. None says anything about tasks, people or data."""

_log = structlog.get_logger("taskgate.api")
_LONGEST_TOKEN = 4096


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever asks, proven. `id` is the proof's own (of an API key `tgk_…`), unique and never used again. `principal`
    is who that proves: what a credential issued to the caller itself is bound to. `is_task`: a task, proven by what it
    was given for the data path. It reaches what is made for tasks and nothing else: its principal reads the same as
    that of every other run of the task, so no route may take it for the owner of something. `run`: a flow run's
    process, proven by what the worker that started it gave it; it reaches what is made for flow runs and nothing
    else."""

    id: str
    principal: Principal
    scopes: frozenset[Scope]
    expires_at: datetime | None = None
    is_task: bool = False
    run: RegisteredRun | None = None

    @property
    def label(self) -> str:
        """How records name the caller: readable, and unique by its id."""
        return f"{self.principal.kind}:{self.principal.name} ({self.id})"

    @property
    def is_person(self) -> bool:
        return self.principal.kind is PrincipalKind.USER

    def may(self, scope: Scope) -> bool:
        return permits(self.scopes, scope)


class Authenticator(Protocol):
    """Knows one kind of token: API keys today; a token of an identity provider is another class."""

    async def authenticate(self, token: str) -> Caller | None:
        """Who holds this token; None when it is not one of this kind, unknown, expired or revoked. Never tells which.
        Raises StoreFault where it cannot know."""


class ApiKeyAuthenticator:
    """The gateway's own API keys."""

    def __init__(self, api_keys: ApiKeys) -> None:
        self._api_keys = api_keys

    async def authenticate(self, token: str) -> Caller | None:
        key = await self._api_keys.authenticate(token)
        return None if key is None else Caller(key.id, key.principal(), key.scopes, key.expires_at)


class CredentialAuthenticator:
    """Tasks, by the credential they were given for the data path (`tg_….<secret>`). No other principal's counts here:
    people and services have API keys, and what those may do is not for a connection string to carry about."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def authenticate(self, token: str) -> Caller | None:
        found = await self._credentials.verify_bearer(token)
        if found is None or found.principal.kind is not PrincipalKind.TASK or found.principal.attempt is None:
            return None
        return Caller(found.id, found.principal, frozenset(), found.ends_at, is_task=True)


class RunAuthenticator:
    """Processes of flow runs, by the secret that works once or the token they had for it (`tgr_….<secret>`). That a
    secret is known says nothing yet: the route that it is for finds out whether it still works."""

    def __init__(self, registered: RegisteredRuns) -> None:
        self._registered = registered

    async def authenticate(self, token: str) -> Caller | None:
        run = await self._registered.find(token)
        if run is None:
            return None
        principal = Principal(
            PrincipalKind.TASK, run.flow_run_id, run.source, Assurance.VERIFIED, f"prefect:{run.source}, by its worker"
        )
        return Caller(run.id, principal, frozenset(), run=run)


def logged_path(scope: AsgiScope) -> str:
    """The path as it was asked for: still percent-encoded, so that it cannot break a log line, and bounded."""
    raw: bytes = scope.get("raw_path") or b""
    return raw.decode("ascii", "backslashreplace")[:200]


def _bearer(scope: AsgiScope) -> str | None:
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1 or len(values[0]) > _LONGEST_TOKEN:
        return None
    kind, _, token = values[0].decode("latin-1").partition(" ")
    return token.strip() if kind.lower() == "bearer" and token.strip() else None


def refusal() -> ApiProblem:
    return ApiProblem(
        401,
        "this needs a valid API key",
        hint="Send `Authorization: Bearer <key>`; `taskgate api-key create` makes one.",
        headers={"WWW-Authenticate": 'Bearer realm="taskgate"'},
    )


class AuthenticationMiddleware:
    """Puts the Caller into the request's state, or refuses."""

    def __init__(self, app: ASGIApp, authenticators: Sequence[Authenticator]) -> None:
        self._app = app
        self._authenticators = tuple(authenticators)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in OPEN_PATHS):
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here speaks WebSocket
            return
        token = _bearer(scope)
        caller = await self._known(token) if token else None
        if caller is None:
            client = scope.get("client")
            _log.info("api.not_authenticated", path=logged_path(scope), client=client[0] if client else None)
            request_id = scope.get("state", {}).get("request_id")
            response = problem_response(refusal(), instance=scope["path"], request_id=request_id)
            await response(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = caller
        structlog.contextvars.bind_contextvars(caller=caller.id)
        await self._app(scope, receive, send)

    async def _known(self, token: str) -> Caller | None:
        for authenticator in self._authenticators:
            if (caller := await authenticator.authenticate(token)) is not None:
                return caller
        return None


_bearer_scheme = HTTPBearer(auto_error=False, scheme_name="apiKey", description="An API key of a service or person.")


_run_scheme = HTTPBearer(
    auto_error=False, scheme_name="flowRun", description="A flow run's one-time secret or token: `tgr_….<secret>`."
)
_task_scheme = HTTPBearer(
    auto_error=False, scheme_name="taskCredential", description="A task's own credential: `<user>.<password>`."
)


def _caller(request: Request) -> Caller:
    caller = getattr(request.state, "caller", None)
    if not isinstance(caller, Caller):
        raise refusal()
    return caller


def authenticated(request: Request, _: Annotated[object, Depends(_bearer_scheme)]) -> Caller:
    """The caller that the middleware found. Every router under /v1 depends on this, or on `own_task`."""
    caller = _caller(request)
    if caller.is_task:
        raise not_permitted(
            "a task's credential shows its own attempt and reaches nothing else here",
            code="task_credential",
            hint="`GET /v1/attempt` is what a task may ask; everything else wants an API key.",
        )
    if caller.run is not None:
        raise not_permitted("a flow run gets its credentials and reaches nothing else here", code="flow_run")
    return caller


def registered(caller: Caller) -> RegisteredRun:
    """The flow run whose process asks. Raises ApiProblem where it is somebody else."""
    if caller.run is None:
        raise not_permitted("this answers a flow run: send what its worker gave it", code="not_a_flow_run")
    return caller.run


def own_run(request: Request, _: Annotated[object, Depends(_run_scheme)]) -> Caller:
    """The flow run's process that asks; its `run` is there. What is made for flow runs depends on this."""
    caller = _caller(request)
    registered(caller)
    return caller


def own_task(request: Request, _: Annotated[object, Depends(_task_scheme)]) -> Principal:
    """The task that asks, about itself. What is made for tasks depends on this, and nobody else reaches it."""
    caller = _caller(request)
    if not caller.is_task:
        raise not_permitted("this answers a task about itself: send its own credential", code="not_a_task")
    return caller.principal


class Requires:
    """A route's demand for one scope: `Annotated[Caller, Depends(Requires(Scope.TARGETS_READ))]`.

    With `None` any key will do (the route itself then limits what its holder gets)."""

    def __init__(self, scope: Scope | None) -> None:
        self.scope = scope

    def __call__(self, caller: Annotated[Caller, Depends(authenticated)]) -> Caller:
        if self.scope is not None and not caller.may(self.scope):
            raise not_permitted(
                f"this needs the scope {self.scope}, which this key does not have", code="scope_missing"
            )
        return caller
