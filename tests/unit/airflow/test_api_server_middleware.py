from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from taskgate_airflow import api_server_middleware, compat
from taskgate_airflow.api_server_middleware import ApiServerMiddleware
from taskgate_airflow.task_token import current_token, only_describes
from tests.unit.airflow.test_task_token import ATTEMPT, jwt

TOKEN = jwt({"sub": ATTEMPT})
BEARER = (b"authorization", f"Bearer {TOKEN}".encode())


class _Backend:
    """The secrets backend, as far as the middleware knows it."""

    def __init__(self) -> None:
        self.posted: list[str] = []

    def may_wait(self, conn_id: str) -> bool:
        return conn_id != "plain_db"

    def knows_mapped(self, conn_id: str) -> bool:
        return conn_id == "orders_db"

    def tell_posted(self, attempts: list[str]) -> None:
        self.posted.extend(attempts)


@pytest.fixture(autouse=True)
def backend(monkeypatch: pytest.MonkeyPatch) -> _Backend:
    made = _Backend()
    monkeypatch.setattr(api_server_middleware, "_backend", lambda: made)
    return made


def _scope(path: str, method: str = "GET", *headers: tuple[bytes, bytes], kind: str = "http") -> dict[str, Any]:
    return {"type": kind, "method": method, "path": path, "headers": list(headers)}


async def _called(app: Any, scope: dict[str, Any], at_once: int = 8) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await ApiServerMiddleware(app, at_once=at_once)(scope, _nothing, send)
    return sent


async def _nothing() -> dict[str, Any]:
    return {"type": "http.disconnect"}


def _answering(status: int, seen: Callable[[], None] = lambda: None) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


async def _token_at(scope: dict[str, Any]) -> str | None:
    seen: list[str | None] = []

    def look() -> None:
        token = current_token()
        seen.append(token.text if token else None)

    await _called(_answering(200, look), scope)
    assert current_token() is None
    return seen[0]


@pytest.mark.parametrize(
    "path",
    ["/execution/connections/orders_db", "/airflow/execution/connections/a.b:c", "/execution/variables/taskgate:x:y"],
)
async def test_the_token_is_at_hand_while_a_connection_is_looked_up(path: str) -> None:
    assert await _token_at(_scope(path, "GET", BEARER)) == TOKEN


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/execution/connections/orders_db", "PUT"),
        ("/execution/connections/", "GET"),
        ("/execution/connections/a/b", "GET"),
        ("/execution/variables/orders_db", "GET"),
        ("/api/v2/connections/orders_db", "GET"),
        (f"/execution/task-instances/{ATTEMPT}/run", "PATCH"),
    ],
)
async def test_and_nowhere_else(path: str, method: str) -> None:
    assert await _token_at(_scope(path, method, BEARER)) is None


async def test_the_first_authorization_header_counts() -> None:
    """The one that came over the wire: Airflow's all-admins mode appends one of its own."""
    other = (b"authorization", f"Bearer {jwt({'sub': '0197c0de-0000-7000-8000-000000000002'})}".encode())
    path = "/execution/connections/orders_db"
    assert await _token_at(_scope(path, "GET", BEARER, other)) == TOKEN
    anonymous = (b"authorization", b"Anonymous")
    assert await _token_at(_scope(path, "GET", anonymous, BEARER)) is None
    assert await _token_at(_scope(path)) is None


async def test_what_is_no_request_passes() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    await _called(app, {"type": "lifespan"})
    assert seen == ["lifespan"]


async def test_only_so_many_wait_for_the_gateway_and_others_pass_them() -> None:
    inside, most = 0, 0
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal inside, most
        if scope["path"].endswith("plain_db"):
            return
        inside += 1
        most = max(most, inside)
        await go.wait()
        inside -= 1

    async def send(message: Any) -> None: ...

    asking = _scope("/execution/connections/orders_db", "GET", BEARER)
    middleware = ApiServerMiddleware(app, at_once=2)
    waiting = [asyncio.create_task(middleware(asking, _nothing, send)) for _ in range(5)]
    await asyncio.sleep(0.05)
    assert inside == 2
    await asyncio.wait_for(middleware(_scope("/execution/connections/plain_db", "GET", BEARER), _nothing, send), 1)
    waiting[0].cancel()
    await asyncio.sleep(0.05)
    assert most == 3  # one that went away made room; its count stays in `inside`
    go.set()
    await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 1)


async def test_what_is_not_known_to_be_mapped_does_not_queue_behind_what_is() -> None:
    go = asyncio.Event()
    inside: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        inside.append(scope["path"].rpartition("/")[2])
        await go.wait()

    async def send(message: Any) -> None: ...

    middleware = ApiServerMiddleware(app, at_once=1)
    asking = [
        asyncio.create_task(middleware(_scope(f"/execution/connections/{name}", "GET", BEARER), _nothing, send))
        for name in ("orders_db", "orders_db", "other_db", "other_db")
    ]
    await asyncio.sleep(0.05)
    assert inside == ["orders_db", "other_db"]
    go.set()
    await asyncio.wait_for(asyncio.gather(*asking), 1)
    assert len(inside) == 4


@pytest.mark.parametrize(("status", "told"), [(204, [ATTEMPT]), (200, [ATTEMPT]), (409, []), (500, [])])
async def test_an_attempt_that_was_let_post_its_end_is_told(backend: _Backend, status: int, told: list[str]) -> None:
    sent = await _called(_answering(status), _scope(f"/execution/task-instances/{ATTEMPT.upper()}/state", "PATCH"))
    assert sent[0]["status"] == status
    await asyncio.sleep(0.4)
    assert backend.posted == told


class _Denied(BaseException):
    """A denial, as Airflow 3.1 needs it: no Exception."""


@pytest.fixture
def airflow_31(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "DENIAL_IS_AN_EXCEPTION", False)
    monkeypatch.setattr(compat, "AirflowSecretsBackendAccessDenied", _Denied)


@pytest.mark.usefixtures("airflow_31")
@pytest.mark.parametrize(
    "error", [_Denied("no"), BaseExceptionGroup("tasks", [RuntimeError("No response returned."), _Denied("no")])]
)
async def test_a_denial_that_is_no_exception_is_403(error: BaseException) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise error

    sent = await _called(app, _scope("/execution/connections/orders_db", "GET", BEARER))
    assert sent[0]["status"] == 403
    assert json.loads(sent[1]["body"]) == {"detail": {"reason": "denied_by_taskgate", "message": "no"}}


@pytest.mark.usefixtures("airflow_31")
@pytest.mark.parametrize(
    "error",
    [ValueError("x"), asyncio.CancelledError(), ExceptionGroup("tasks", [RuntimeError("No response returned.")])],
)
async def test_any_other_error_stays_what_it_is(error: BaseException) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise error

    with pytest.raises(type(error)):
        await _called(app, _scope("/execution/connections/orders_db", "GET", BEARER))


@pytest.mark.usefixtures("airflow_31")
async def test_a_denial_after_the_answer_has_begun_is_no_second_answer() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise _Denied("no")

    with pytest.raises(_Denied):
        await _called(app, _scope("/execution/connections/orders_db", "GET", BEARER))


async def test_only_airflows_connection_test_has_connections_described() -> None:
    seen: dict[str, bool] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen[f"{scope['method']} {scope['path']}"] = only_describes()

    async def send(message: Any) -> None: ...

    asked = [
        "/api/v2/connections/test",
        "/base/api/v2/connections/test",
        "/api/v2/connections",
        "/execution/connections/x",
    ]
    for path in asked:
        for method in ("GET", "POST"):
            await ApiServerMiddleware(app)(_scope(path, method), _nothing, send)
    assert {path for path, described in seen.items() if described} == {
        "POST /api/v2/connections/test",
        "POST /base/api/v2/connections/test",
    }
    assert not only_describes()
