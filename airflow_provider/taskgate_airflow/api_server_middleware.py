"""What the API server does around its own answers to tasks: keep the task's token at hand while a connection is looked
up, bound how many of those wait for the gateway, and tell the gateway which attempts have ended.

Registered by the plugin only where `[secrets] backend` is ours. Reads paths and one header, changes no request."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import taskgate.client  # noqa: F401  so that the first task that asks does not wait for it
from taskgate_airflow import compat
from taskgate_airflow.attempts_posted import AttemptsPostedReporter
from taskgate_airflow.server_secrets import TaskgateServerSecretsBackend
from taskgate_airflow.task_token import TaskToken, describing, presented

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Airflow's private execution API, the same in 3.1, 3.2 and 3.3. A path that one day differs means no token: denied.
_CONNECTION = re.compile(r"/execution/connections/(?P<conn_id>[^/]+)$")
_VARIABLE = re.compile(r"/execution/variables/taskgate:")
_STATE = re.compile(r"/execution/task-instances/(?P<attempt_id>[0-9a-fA-F-]{36})/state$")
_TEST = "/api/v2/connections/test"

AT_ONCE = 8
"""Of the 40 threads in which this process answers: so many for what is mapped, and as many for what may be. The
gateway asks this very API server back while they wait: were all of them waiting, none would be left to answer it."""


class ApiServerMiddleware:
    """ASGI, one a process."""

    def __init__(self, app: App, *, at_once: int = AT_ONCE) -> None:
        self._app = app
        self._waiting = asyncio.Semaphore(at_once)
        self._looking_up = asyncio.Semaphore(at_once)
        self._reporter: AttemptsPostedReporter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        if method == "GET" and (asked := _CONNECTION.search(path)):
            token = _token(scope)
            async with self._place(token, asked["conn_id"]):
                with presented(token):
                    await self._answer(scope, receive, send)
        elif method == "GET" and _VARIABLE.search(path):
            with presented(_token(scope)):
                await self._app(scope, receive, send)
        elif method == "POST" and path.endswith(_TEST):
            with describing():
                await self._app(scope, receive, send)
        elif method == "PATCH" and (posted := _STATE.search(path)):
            await self._app(scope, receive, self._telling(posted["attempt_id"].lower(), send))
        else:
            await self._app(scope, receive, send)

    def _place(self, token: TaskToken | None, conn_id: str) -> AbstractAsyncContextManager[None]:
        backend = _backend()
        if token is None or backend is None or not backend.may_wait(conn_id):
            return nullcontext()
        # What is not known to be mapped is looked up first, and mostly has nothing to do with the gateway: it does not
        # queue behind those who wait for a gateway that hangs.
        return self._waiting if backend.knows_mapped(conn_id) else self._looking_up

    def _telling(self, attempt_id: str, send: Send) -> Send:
        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start" and 200 <= message["status"] < 300:
                await self._posted(attempt_id)
            await send(message)

        return tell

    async def _posted(self, attempt_id: str) -> None:
        backend = _backend()
        if backend is not None:
            self._reporter = self._reporter or AttemptsPostedReporter(backend.tell_posted)
            await self._reporter.posted(attempt_id)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Where Airflow's own dispatcher would swallow a denial that is an Exception, it is none: made 403 here."""
        if compat.DENIAL_IS_AN_EXCEPTION:
            await self._app(scope, receive, send)
            return
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except BaseException as error:
            denial = _denial_in(error)
            if started or denial is None:
                raise
            body = json.dumps({"detail": {"reason": "denied_by_taskgate", "message": str(denial)}}).encode()
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": body})


def _token(scope: Scope) -> TaskToken | None:
    """From the first Authorization header, the one that came over the wire: Airflow's all-admins mode appends one."""
    for name, value in scope["headers"]:
        if name.lower() == b"authorization":
            return TaskToken.read(value)
    return None


def _backend() -> TaskgateServerSecretsBackend | None:
    found = (one for one in compat.server_secrets_backends() if isinstance(one, TaskgateServerSecretsBackend))
    return next(found, None)


def _denial_in(error: BaseException) -> BaseException | None:
    """The denial in what came up through Airflow's own middlewares, each of which adds that it got no answer."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for one in error.exceptions if (found := _denial_in(one)) is not None), None)
    return error if isinstance(error, compat.AirflowSecretsBackendAccessDenied) else None
