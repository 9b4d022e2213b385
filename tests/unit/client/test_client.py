"""The clients against the real API (in process) and against answers that misbehave."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from taskgate.client import (
    AsyncClient,
    Client,
    Conflict,
    InvalidRequest,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    ServerError,
    SessionFilter,
    StillPending,
    TaskClaim,
    TaskgateApiError,
    TooManyRequests,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)
from taskgate.client.models import WhoAmI

KEY = "tgk_1.canary-key"
CLAIM = TaskClaim(source="prod", dag_id="etl", run_id="r", task_id="clean", attempt_id="ti-1")
Handler = Callable[[httpx.Request], httpx.Response]
Ask = Callable[[Handler], Awaitable[WhoAmI]]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Retries without waiting; what they would have waited."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("taskgate.client.sync.time.sleep", pauses.append)
    monkeypatch.setattr("taskgate.client.asynchronous.asyncio.sleep", pause)
    return pauses


def client(handler: Handler, **settings: object) -> Client:
    return Client("http://127.0.0.1:1", KEY, transport=httpx.MockTransport(handler), **settings)  # type: ignore[arg-type]


@pytest.fixture(params=["sync", "async"])
def whoami(request: pytest.FixtureRequest) -> Ask:
    """`whoami()` by either client: what both do with an answer."""

    async def ask(handler: Handler) -> WhoAmI:
        if request.param == "sync":
            with client(handler) as gateway:
                return gateway.whoami()
        transport = httpx.MockTransport(handler)
        async with AsyncClient("http://127.0.0.1:1", KEY, transport=transport) as gateway:
            return await gateway.whoami()

    return ask


ME: dict[str, object] = {
    "id": "tgk_1",
    "kind": "user",
    "name": "dana",
    "groups": [],
    "scopes": [],
    "expires_at": None,
    "new_field": 1,
}


def problem(status: int, **more: object) -> httpx.Response:
    body = {"type": "about:blank", "title": "x", "status": status, "detail": "because", "request_id": "req-1", **more}
    return httpx.Response(status, content=json.dumps(body), headers={"content-type": "application/problem+json"})


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, InvalidRequest),
        (401, NotAuthenticated),
        (403, NotPermitted),
        (404, NotFound),
        (409, Conflict),
        (413, InvalidRequest),
        (422, InvalidRequest),
        (429, TooManyRequests),
        (500, ServerError),
        (503, Unavailable),
    ],
)
async def test_errors_by_fault(whoami: Ask, status: int, error: type[TaskgateApiError]) -> None:
    with pytest.raises(error) as raised:
        await whoami(
            lambda _: problem(status, code="some_code", hint="do this", errors=[{"where": "body.x", "message": "no"}])
        )
    caught = raised.value
    assert str(caught) == "because: body.x: no"
    assert (caught.status, caught.code, caught.hint, caught.request_id) == (status, "some_code", "do this", "req-1")


@pytest.mark.parametrize(
    "answer",
    [
        lambda: httpx.Response(200, content=b"<html>"),
        lambda: httpx.Response(200, json={"id": 1}),
        lambda: httpx.Response(302, headers={"location": "https://evil.example/"}),
        lambda: httpx.Response(404, content=b"nothing", headers={"content-type": "text/html"}),
        lambda: httpx.Response(500, content=b"{", headers={"content-type": "application/problem+json"}),
    ],
)
async def test_what_does_not_speak_this_api(whoami: Ask, answer: Callable[[], httpx.Response]) -> None:
    with pytest.raises(UnexpectedAnswer):
        await whoami(lambda _: answer())


async def test_a_newer_server_may_say_more(whoami: Ask) -> None:
    assert (await whoami(lambda _: httpx.Response(200, json=ME))).name == "dana"


async def test_idempotent_calls_are_tried_again(whoami: Ask, no_pauses: list[float]) -> None:
    answers: list[httpx.Response | Exception] = [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.Response(503, headers={"retry-after": "2"}),
        httpx.Response(200, json=ME),
    ]

    def handler(_: httpx.Request) -> httpx.Response:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert (await whoami(handler)).name == "dana"
    assert len(no_pauses) == 3
    assert no_pauses[2] >= 2.0  # as the server asked


async def test_trying_ends(whoami: Ask, no_pauses: list[float]) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1"):
        await whoami(handler)
    assert len(no_pauses) == 3
    assert max(no_pauses) <= 5.0


def test_what_may_have_been_done_is_not_done_again() -> None:
    sent = 0

    def handler(_: httpx.Request) -> httpx.Response:
        nonlocal sent
        sent += 1
        raise httpx.ReadTimeout("no answer")

    with client(handler) as gateway:
        with pytest.raises(Unreachable):
            gateway.issue_credential("orders-db", principal=CLAIM)
        assert sent == 1
        with pytest.raises(Unreachable):
            gateway.approve("apr_1")
        assert sent == 2


def test_what_was_never_sent_is_sent_again() -> None:
    sent = 0

    def handler(_: httpx.Request) -> httpx.Response:
        nonlocal sent
        sent += 1
        if sent < 3:
            raise httpx.ConnectError("refused")
        return problem(403)

    with client(handler) as gateway, pytest.raises(NotPermitted):
        gateway.issue_credential("orders-db", principal=CLAIM)
    assert sent == 3


def test_the_key_goes_out_and_stands_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return problem(403)

    caplog.set_level(0)
    with client(handler) as gateway:
        with pytest.raises(NotPermitted) as raised:
            gateway.whoami()
        assert seen[0].headers["authorization"] == f"Bearer {KEY}"
        assert seen[0].headers["user-agent"].startswith("taskgate-client/")
        shown = repr(gateway) + repr(vars(gateway)) + repr(gateway._http.auth) + repr(raised.value) + caplog.text
    assert "canary" not in shown


def test_pages_are_followed_to_the_end() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        cursor = request.url.params.get("cursor")
        number = int(cursor or 0)
        target = {
            "name": f"t{number}",
            "protocol": "postgres",
            "database": "d",
            "host": "h",
            "port": 1,
            "max_sessions": 1,
            "digest": "x",
        }
        return httpx.Response(200, json={"items": [target], "next_cursor": str(number + 1) if number < 2 else None})

    with client(handler) as gateway:
        assert [target.name for target in gateway.targets()] == ["t0", "t1", "t2"]


def test_filters_reach_the_server() -> None:
    seen: list[httpx.URL] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.url)
        return httpx.Response(200, json={"items": []})

    chosen = SessionFilter(dag_id="a b&c", map_index=-1, since=datetime(2026, 1, 1, tzinfo=UTC))
    with client(handler) as gateway:
        assert list(gateway.sessions(chosen)) == []
        assert list(gateway.approvals(state=["pending", "denied"], mine=True)) == []
    assert dict(seen[0].params) == {"dag_id": "a b&c", "map_index": "-1", "since": "2026-01-01T00:00:00+00:00"}
    assert seen[1].params.get_list("state") == ["pending", "denied"]
    assert seen[1].params["mine"] == "true"


@pytest.mark.parametrize("identifier", ["", ".", "..", "a/../b", "a?b", "a#b", "a b"])
def test_an_identifier_never_names_another_resource(identifier: str) -> None:
    seen: list[httpx.URL] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.url)
        return problem(404)

    with client(handler) as gateway, pytest.raises((NotFound, ValueError)):
        gateway.credential(identifier)
    assert all(url.raw_path.startswith(b"/v1/credentials/") and url.raw_path.count(b"/") == 3 for url in seen)
    assert all(not url.query and not url.fragment for url in seen)


APPROVAL = {
    "id": "apr_1",
    "principal": {"kind": "user", "name": "x", "source": "s", "assurance": "verified", "verified_by": "v"},
    "target": "orders-db",
    "session_id": "ses_1",
    "text": "DELETE",
    "pairs": [],
    "rules": [],
    "terms": {"approvers": [], "hold": 1, "hold_in_transaction": 1, "expires": 1, "uses": 1},
    "policy_version": "p",
    "requested_at": "2026-01-01T00:00:00Z",
    "expires_at": "2026-01-01T00:00:00Z",
    "digest": "d",
    "owner_key": "o",
}


async def test_waiting_asks_again_until_it_is_decided(no_pauses: list[float]) -> None:
    states = ["pending", "pending", "approved"]

    def handler(request: httpx.Request) -> httpx.Response:
        assert float(request.url.params["wait"]) == 60.0
        return httpx.Response(200, json={**APPROVAL, "state": states.pop(0)})

    with client(handler) as gateway:
        assert gateway.wait_for_approval("apr_1").state == "approved"
    assert no_pauses == [1.0, 1.0]  # this server did not hold the poll, so it is not hammered
    states[:] = ["pending", "denied"]
    async with AsyncClient("http://127.0.0.1:1", KEY, transport=httpx.MockTransport(handler)) as other:
        assert (await other.wait_for_approval("apr_1")).state == "denied"


async def test_waiting_ends_in_still_pending() -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={**APPROVAL, "state": "pending"})

    with client(handler) as gateway, pytest.raises(StillPending):
        gateway.wait_for_approval("apr_1", timeout=0)
    async with AsyncClient("http://127.0.0.1:1", KEY, transport=httpx.MockTransport(handler)) as other:
        with pytest.raises(StillPending):
            await other.wait_for_approval("apr_1", timeout=0)


def test_an_export_is_whole_or_not_there(tmp_path: Path) -> None:
    destination = tmp_path / "bundle.zip"
    with client(lambda _: httpx.Response(200, content=b"PK" * 1000)) as gateway:
        assert gateway.export(destination, sessions=["ses_1"]) == 2000
    assert destination.read_bytes() == b"PK" * 1000
    assert destination.stat().st_mode & 0o077 == 0
    with client(lambda _: problem(404)) as gateway, pytest.raises(NotFound):
        gateway.export(tmp_path / "other.zip", sessions=["ses_1"])
    assert [path.name for path in tmp_path.iterdir()] == ["bundle.zip"]


def test_both_clients_have_the_same_methods() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    streams = {"approval_events", "watch_approvals"}  # what waits for many at once has a loop to do it in
    assert public(Client) == public(AsyncClient) - streams
