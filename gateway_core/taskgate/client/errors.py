"""What can go wrong between a client and the control API, by whose fault.

    TaskgateApiError
      RequestFault        the caller's: asking again unchanged will not help
        NotAuthenticated 401 · NotPermitted 403 · NotFound 404 · Conflict 409 · InvalidRequest 400, 413, 422 …
      ServiceFault        the gateway's or the way's to it: asking again may help
        TooManyRequests 429 · Unavailable 503 · ServerError 5xx · Unreachable (no answer) · UnexpectedAnswer (not ours)
      StillPending        a wait ended before a human decided

None carries the API key, nor the body of a request.
"""

from __future__ import annotations

from taskgate.client.models import FieldProblem, Problem
from taskgate.errors import TaskgateError


class TaskgateApiError(TaskgateError):
    """Base. `status` is the HTTP status (None: no answer came), `code` stable and for programs, `problem` everything
    the server said."""

    def __init__(self, message: str, *, status: int | None = None, problem: Problem | None = None) -> None:
        super().__init__(message, detail=problem.detail if problem else None, hint=problem.hint if problem else None)
        self.status = status
        self.problem = problem

    @property
    def code(self) -> str | None:
        return self.problem.code if self.problem else None

    @property
    def request_id(self) -> str | None:
        """What to look for in the gateway's log."""
        return self.problem.request_id if self.problem else None

    @property
    def errors(self) -> tuple[FieldProblem, ...]:
        """What is wrong with the request, place by place."""
        return tuple(self.problem.errors) if self.problem else ()


class RequestFault(TaskgateApiError):
    """The caller's fault: asking again unchanged will not help."""


class NotAuthenticated(RequestFault):
    """401: no API key, or one that is unknown, expired or revoked."""


class NotPermitted(RequestFault):
    """403: the key lacks a scope, or policy says no."""


class NotFound(RequestFault):
    """404: there is none with this name, or the key may not know of it."""


class Conflict(RequestFault):
    """409: it is no longer in a state where this can be done (decided, expired, revoked)."""


class InvalidRequest(RequestFault):
    """Any other 4xx: `errors` name what is wrong."""


class ServiceFault(TaskgateApiError):
    """The gateway's fault, or the way's to it: asking again may help."""


class TooManyRequests(ServiceFault):
    """429."""


class Unavailable(ServiceFault):
    """503: the gateway is up, but something it needs is away."""


class ServerError(ServiceFault):
    """Any other 5xx."""


class Unreachable(ServiceFault):
    """No answer: refused, timed out, broken off, TLS not trusted."""


class UnexpectedAnswer(ServiceFault):
    """Something answered that does not speak this API: a wrong URL, a proxy in between, another version."""


class StillPending(TaskgateApiError):
    """The wait ended and no human has decided. The approval goes on: ask again with the same id."""


_BY_STATUS: dict[int, type[TaskgateApiError]] = {
    401: NotAuthenticated,
    403: NotPermitted,
    404: NotFound,
    409: Conflict,
    429: TooManyRequests,
    503: Unavailable,
}


def error_for(problem: Problem) -> TaskgateApiError:
    """The error for what the server said."""
    fallback = ServerError if problem.status >= 500 else InvalidRequest
    message = problem.detail or problem.title
    if problem.errors:
        message += ": " + "; ".join(f"{error.where}: {error.message}" for error in problem.errors)
    return _BY_STATUS.get(problem.status, fallback)(message, status=problem.status, problem=problem)
