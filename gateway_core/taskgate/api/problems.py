"""Every error of the API as `application/problem+json` (RFC 9457), by whose fault it is.

Nothing unexpected is told to the outside: an error we did not foresee is a 500 that names only its request id.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from taskgate.approvals.faults import ApprovalClosed, ApprovalUnknown
from taskgate.client.models import FieldProblem, Problem
from taskgate.errors import ClientFault, GatewayFault, PolicyRefusal, StoreFault, TargetFault, TaskgateError
from taskgate.identity.orchestrators.faults import NotProven, OrchestratorAway

MEDIA_TYPE = "application/problem+json"
_TYPE_PREFIX = "urn:taskgate:problem:"
_log = structlog.get_logger("taskgate.api")

_CODES = {
    400: "bad_request",
    401: "not_authenticated",
    403: "not_permitted",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    429: "too_many_requests",
    500: "internal",
    503: "unavailable",
}


class ApiProblem(Exception):
    """Raised by a route to answer with a problem. `code` is stable and for programs."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        errors: tuple[FieldProblem, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code = code or _CODES.get(status, "error")
        self.hint = hint
        self.errors = errors
        self.headers = dict(headers or {})


def not_found(what: str) -> ApiProblem:
    return ApiProblem(404, f"no such {what}, or this key may not know of it")


def not_permitted(detail: str, *, code: str | None = None, hint: str | None = None) -> ApiProblem:
    return ApiProblem(403, detail, code=code, hint=hint)


def invalid(where: str, message: str) -> ApiProblem:
    return ApiProblem(422, "the request is not valid", errors=(FieldProblem(where=where, message=message),))


def problem_response(problem: ApiProblem, *, instance: str | None, request_id: str | None) -> Response:
    body = Problem(
        type=_TYPE_PREFIX + problem.code,
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        instance=instance,
        code=problem.code,
        hint=problem.hint,
        request_id=request_id,
        errors=list(problem.errors),
    )
    content = body.model_dump_json(exclude_none=True).encode()
    return Response(content, problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


def from_fault(error: TaskgateError) -> ApiProblem:
    """Our own errors, by whose fault they are."""
    match error:
        case ApprovalUnknown():
            return not_found("approval")
        case ApprovalClosed():
            return ApiProblem(409, error.message, code="approval_closed")
        case StoreFault():
            return ApiProblem(
                503, error.message, code="store_unavailable", hint=error.hint, headers={"Retry-After": "1"}
            )
        case NotProven():
            return ApiProblem(403, error.message, code=error.code, hint=error.hint)
        case PolicyRefusal():
            return ApiProblem(403, error.message, code="policy_refused", hint=error.hint)
        case ClientFault():
            return ApiProblem(422, error.message, hint=error.hint)
        case OrchestratorAway():
            return ApiProblem(503, error.message, code="orchestrator_away", hint=error.hint)
        case TargetFault():
            return ApiProblem(503, error.message, code="target_unavailable", hint=error.hint)
        case GatewayFault():
            return ApiProblem(503, error.message, hint=error.hint)
        case _:
            return ApiProblem(500, "the gateway met an error of its own")


def _respond(request: Request, problem: ApiProblem) -> Response:
    return problem_response(problem, instance=request.url.path, request_id=getattr(request.state, "request_id", None))


def install(app: FastAPI) -> None:
    """Make `app` answer every error it can meet as a problem. What escapes even these is caught by the middleware."""

    @app.exception_handler(ApiProblem)
    async def _ours(request: Request, error: ApiProblem) -> Response:
        return _respond(request, error)

    @app.exception_handler(TaskgateError)
    async def _fault(request: Request, error: TaskgateError) -> Response:
        problem = from_fault(error)
        if problem.status >= 500:
            _log.warning("api.fault", fault=type(error).__name__, message=error.message)
        elif isinstance(error, NotProven):
            _log.warning("identity.not_proven", code=error.code, reason=error.message)
        return _respond(request, problem)

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError) -> Response:
        # The input itself is not repeated: it may hold a secret put into the wrong place.
        problems = tuple(
            FieldProblem(where=".".join(str(step) for step in item["loc"]), message=item["msg"])
            for item in error.errors()
        )
        return _respond(request, ApiProblem(422, "the request is not valid", errors=problems))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        detail = {404: "there is nothing at this address", 405: "this address does not take this method"}.get(
            error.status_code, str(error.detail)
        )
        return _respond(request, ApiProblem(error.status_code, detail, headers=error.headers))
