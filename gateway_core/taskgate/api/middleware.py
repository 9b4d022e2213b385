"""What every request gets, whatever its route: an id, a bound on its size, headers, a log line, no stray errors."""

from __future__ import annotations

import logging
import re
import time

import structlog
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils import uuid7

from taskgate.api.authentication import OPEN_PATHS, logged_path
from taskgate.api.problems import ApiProblem, from_fault, problem_response
from taskgate.errors import TaskgateError
from taskgate.metrics import Metrics

MAX_BODY = 2 * 1024**2
"""Bytes of a request's body. The largest honest one is a statement to be explained (1 MiB of text)."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_HSTS = "max-age=31536000"
_log = structlog.get_logger("taskgate.api")


class RequestContext:
    """The outermost layer: gives the request its id, adds the headers, logs and counts it, and turns an error that
    nobody foresaw into a 500 that tells nothing but the id."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _given_id(scope) or uuid7().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0
        started = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers["x-request-id"] = request_id
                if scope["scheme"] == "https":
                    headers["strict-transport-security"] = _HSTS
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_headers)
            except Exception as error:
                if status:  # half an answer is out: only breaking it off tells the client
                    raise
                problem = from_fault(error) if isinstance(error, TaskgateError) else ApiProblem(500, _UNFORESEEN)
                if problem.status == 500:
                    _log.exception("api.error", path=logged_path(scope))
                response = problem_response(problem, instance=scope["path"], request_id=request_id)
                await response(scope, receive, send_with_headers)
            finally:
                self._finished(scope, status, time.perf_counter() - started)

    def _finished(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope.get("route")
        path = getattr(route, "path", "unmatched")
        self._metrics.api_request(scope["method"], path, status, seconds)
        caller = scope.get("state", {}).get("caller")
        _log.log(
            logging.DEBUG if path in OPEN_PATHS else logging.INFO,
            "api.request",
            method=scope["method"],
            path=logged_path(scope),
            status=status,
            milliseconds=round(seconds * 1000, 1),
            caller=getattr(caller, "id", None),
        )


_UNFORESEEN = "the gateway met an error of its own; its log has more under this request id"


def _given_id(scope: Scope) -> str | None:
    """The id that a proxy in front gave, where it looks like one: it goes into logs."""
    for name, value in scope["headers"]:
        text = value.decode("latin-1")
        if name == b"x-request-id" and _REQUEST_ID.match(text):
            return str(text)
    return None


class BodyLimit:
    """Refuses a body above `limit` bytes, by its stated length or, where none is stated, as it arrives."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY) -> None:
        self._app = app
        self._limit = limit
        self._message = f"a request's body may have {limit} bytes"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if any(name == b"content-length" and _too_long(value, self._limit) for name, value in scope["headers"]):
            request_id = scope.get("state", {}).get("request_id")
            refusal = ApiProblem(413, self._message)
            await problem_response(refusal, instance=scope["path"], request_id=request_id)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self._limit:
                    raise HTTPException(413, self._message)
            return message

        await self._app(scope, counted, send)


def _too_long(content_length: bytes, limit: int) -> bool:
    return not content_length.isdigit() or int(content_length) > limit
