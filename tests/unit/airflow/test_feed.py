from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from taskgate_airflow import feed
from taskgate_airflow.configuration import GatewayAccess
from taskgate_airflow.feed import outcome
from tests.e2e.control_api_stand_in import ControlApi, ControlApiServer


@pytest.fixture
def access(control_api: ControlApiServer, api_key_file: Path) -> GatewayAccess:
    watching = next(iter(control_api.api.keys.values()))
    watching["scopes"] = ["approvals:watch"]
    return GatewayAccess(control_api.url, str(api_key_file))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "_PAUSE", 0.05)


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.01)


def waits(access: GatewayAccess, *approval_ids: str) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(outcome(access, approval_id)) for approval_id in approval_ids]


def calls(api: ControlApi, path: str) -> list[dict[str, object]]:
    return [body for _, asked, body in api.asked if asked == path]


async def test_many_waits_share_one_connection_and_one_question(
    control_api: ControlApiServer, access: GatewayAccess
) -> None:
    api = control_api.api
    ids = [str(api.approval()["id"]) for _ in range(50)]
    waiting = waits(access, *ids)
    await until(lambda: api.streams == 1 and bool(calls(api, "/v1/approvals/states")))
    for number, approval_id in enumerate(ids):
        api.decide(approval_id, number % 2 == 0, "user:dana")
    assert await asyncio.wait_for(asyncio.gather(*waiting), 5) == ["approved", "denied"] * 25
    assert len(calls(api, "/v1/approvals/watch")) == 1
    assert len(calls(api, "/v1/approvals/states")) <= 2
    await until(lambda: api.streams == 0)
    assert not feed._feeds[asyncio.get_running_loop()], "closed after the last"


async def test_who_comes_later_is_asked_for_too(control_api: ControlApiServer, access: GatewayAccess) -> None:
    api = control_api.api
    (first,) = waits(access, api.approval()["id"])
    await until(lambda: api.streams == 1 and len(calls(api, "/v1/approvals/states")) == 1)
    decided = api.approval(state="expired")
    assert await asyncio.wait_for(outcome(access, decided["id"]), 5) == "expired"
    assert calls(api, "/v1/approvals/states")[1] == {"ids": [decided["id"]]}
    assert len(calls(api, "/v1/approvals/watch")) == 1
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await until(lambda: api.streams == 0)


async def test_one_that_gives_up_disturbs_no_other(control_api: ControlApiServer, access: GatewayAccess) -> None:
    api = control_api.api
    approval_id = api.approval()["id"]
    leaving, staying = waits(access, approval_id, approval_id)
    await until(lambda: api.streams == 1)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    api.decide(approval_id, True, "user:dana")
    assert await asyncio.wait_for(staying, 5) == "approved"


async def test_what_ends_between_two_connections_is_found_by_asking(
    control_api: ControlApiServer, access: GatewayAccess
) -> None:
    api = control_api.api
    ids = [str(api.approval()["id"]) for _ in range(2)]
    waiting = waits(access, *ids)
    await until(lambda: api.streams == 1 and bool(calls(api, "/v1/approvals/states")))
    api.approvals[ids[0]]["state"] = "denied"  # the stream says nothing of it
    api.cut()
    assert await asyncio.wait_for(waiting[0], 5) == "denied"
    last = calls(api, "/v1/approvals/states")[-1]["ids"]
    assert isinstance(last, list)
    assert sorted(last) == sorted(ids), "everything is asked for in one call"
    api.decide(ids[1], True, "user:dana")
    assert await asyncio.wait_for(waiting[1], 5) == "approved"


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502, 503])
async def test_no_answer_of_the_gateways_ends_a_wait(
    control_api: ControlApiServer, access: GatewayAccess, status: int
) -> None:
    api = control_api.api
    api.broken = [status] * 6
    approval = api.approval(state="approved")
    with capture_logs() as logs:
        assert await asyncio.wait_for(outcome(access, approval["id"]), 10) == "approved"
    assert api.broken == []
    assert [(line["event"].partition(";")[0], line["log_level"]) for line in logs] == [
        ("taskgate: approvals cannot be watched", "warning"),
        ("taskgate: approvals are watched again", "info"),
    ]


async def test_states_that_cannot_be_asked_for_end_no_wait(
    control_api: ControlApiServer, access: GatewayAccess
) -> None:
    """The stream works and the other call does not: the connection is made again."""
    api = control_api.api
    (waiting,) = waits(access, api.approval()["id"])
    await until(lambda: api.streams == 1 and bool(calls(api, "/v1/approvals/states")))
    api.broken = [500]
    decided = api.approval(state="withdrawn")
    assert await asyncio.wait_for(outcome(access, decided["id"]), 5) == "withdrawn"
    assert len(calls(api, "/v1/approvals/watch")) >= 2
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_gateway_that_comes_back_is_heard_within_five_seconds(
    control_api: ControlApiServer, access: GatewayAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # with the real pauses
    api = control_api.api
    before, later = api.approval(), api.approval()
    waiting = waits(access, before["id"], later["id"])
    await until(lambda: api.streams == 1)
    control_api.__exit__()
    api.cut()
    api.approvals[before["id"]]["state"] = "approved"
    await asyncio.sleep(4)
    with ControlApiServer(api, control_api.port):
        back = time.monotonic()
        assert await asyncio.wait_for(waiting[0], 5) == "approved"
        api.decide(later["id"], False, "user:dana")
        assert await asyncio.wait_for(waiting[1], 5) == "denied"
        assert time.monotonic() - back < 5


async def test_a_key_is_read_anew_at_every_connection(control_api: ControlApiServer, access: GatewayAccess) -> None:
    """Revoked, its file gone for a while, then another one in its place."""
    api, file = control_api.api, Path(access.api_key_file)
    (waiting,) = waits(access, api.approval()["id"])
    await until(lambda: api.streams == 1)
    api.keys.clear()
    file.unlink()
    api.cut()
    await asyncio.sleep(0.3)
    assert not waiting.done()
    file.write_text(api.key("rotated", kind="service"))
    await until(lambda: api.streams == 1)
    api.decide(next(iter(api.approvals)), True, "user:dana")
    assert await asyncio.wait_for(waiting, 5) == "approved"


async def test_an_approval_that_nobody_knows_ends_the_wait(
    control_api: ControlApiServer, access: GatewayAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_LOOK_FOR_UNKNOWN", 0.05)
    (other,) = waits(access, control_api.api.approval()["id"])
    assert await asyncio.wait_for(outcome(access, "apr_missing"), 5) == "unknown"
    asked = [body for body in calls(control_api.api, "/v1/approvals/states") if "apr_missing" in str(body)]
    assert len(asked) >= feed._UNKNOWN_AFTER
    assert not other.done()
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)


async def test_a_stream_that_is_silent_about_one_is_not_believed_for_ever(
    control_api: ControlApiServer, access: GatewayAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_LOOK_AGAIN", 0.1)
    api = control_api.api
    approval_id = api.approval()["id"]
    (waiting,) = waits(access, approval_id)
    await until(lambda: api.streams == 1 and bool(calls(api, "/v1/approvals/states")))
    api.approvals[approval_id]["state"] = "approved"
    assert await asyncio.wait_for(waiting, 5) == "approved"


async def test_a_proxy_that_keeps_the_stream_to_itself_delays_and_loses_nothing(
    control_api: ControlApiServer, access: GatewayAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_LIVE_WITHIN", 0.1)
    monkeypatch.setattr("taskgate.client.calls.LONGEST_SILENCE", 0.3)
    api = control_api.api
    api.buffered = True
    approval = api.approval()
    (waiting,) = waits(access, approval["id"])
    await until(lambda: len(calls(api, "/v1/approvals/watch")) == 2)
    api.decide(approval["id"], True, "user:dana")
    assert await asyncio.wait_for(waiting, 5) == "approved"
    api.cut()


async def test_what_a_feed_logs_is_not_in_the_log_of_the_trigger_that_came_first(
    access: GatewayAccess, control_api: ControlApiServer
) -> None:
    control_api.api.broken = [500]
    approval = control_api.api.approval(state="approved")
    with (
        capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs,
        structlog.contextvars.bound_contextvars(trigger_id=7),
    ):
        await asyncio.wait_for(outcome(access, approval["id"]), 5)
        structlog.get_logger().info("the trigger's own")
    assert [line.get("trigger_id") for line in logs] == [None, None, 7]
