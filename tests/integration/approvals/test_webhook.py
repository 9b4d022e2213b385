"""Deliveries over a real socket to a real (small) HTTP server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from taskgate.approvals.notifiers.notification import Notification
from taskgate.approvals.notifiers.notifier import DeliveryFault
from taskgate.approvals.notifiers.signature import verify
from taskgate.approvals.notifiers.webhook import WebhookNotifier
from taskgate.errors import SettingsError
from taskgate.secrets import Secret

SECRET = "0123456789abcdef"
NOTIFICATION = Notification(
    id="ntf_1",
    event="approval.requested",
    approval_id="apr_1",
    state="pending",
    summary="asks for approval: …",
    url="https://gate/approvals/apr_1",
    target="orders-db",
    requested_by="prod/etl/run-1/clean",
    rules=("deletes-need-a-human",),
    approvers=("group:dba",),
    requested_at="2026-11-23T12:00:00+00:00",
    expires_at="2026-11-23T16:00:00+00:00",
)


@dataclass
class Receiver:
    """Answers each request with the next of `answers` (the last one again and again)."""

    answers: list[bytes]
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
            self.requests.append((headers, await reader.readexactly(int(headers["content-length"]))))
            answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
            if answer == b"hang":
                await asyncio.sleep(30)
            writer.write(answer)
            if answer.endswith(b"endless"):
                while True:
                    writer.write(b"x" * 65536)
                    await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiver(*answers: bytes) -> AsyncIterator[Receiver]:
    made = Receiver(list(answers))
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


OK = b"HTTP/1.1 204 No Content\r\n\r\n"


async def test_delivery_is_signed_and_says_what_it_is(caplog: pytest.LogCaptureFixture) -> None:
    async with receiver(OK) as hook:
        webhook = WebhookNotifier("chat", hook.url, Secret(SECRET))
        await webhook.deliver(NOTIFICATION)
        await webhook.close()
    ((headers, body),) = hook.requests
    assert verify(SECRET, body, headers["taskgate-signature"], time.time())
    assert headers["taskgate-delivery"] == "ntf_1"
    assert headers["taskgate-event"] == "approval.requested"
    assert headers["content-type"] == "application/json"
    assert Notification.from_json(json.loads(body)) == NOTIFICATION
    assert SECRET not in caplog.text + repr(headers) + body.decode()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"not http at all\r\n\r\n",
        b"",
        b"hang",
    ],
)
async def test_anything_but_success_is_a_fault_without_the_secret(answer: bytes) -> None:
    async with receiver(answer) as hook:
        webhook = WebhookNotifier("chat", hook.url, Secret(SECRET), timeout=0.3)
        with pytest.raises(DeliveryFault) as fault:
            await webhook.deliver(NOTIFICATION)
        await webhook.close()
    assert SECRET not in str(fault.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_never_followed(status: int) -> None:
    async with receiver(OK) as elsewhere:
        answer = f"HTTP/1.1 {status} Moved\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n".encode()
        async with receiver(answer) as hook:
            webhook = WebhookNotifier("chat", hook.url, Secret(SECRET))
            with pytest.raises(DeliveryFault, match=str(status)):
                await webhook.deliver(NOTIFICATION)
            await webhook.close()
    assert len(hook.requests) == 1
    assert elsewhere.requests == []


async def test_endless_answer_costs_nothing() -> None:
    async with receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nendless") as hook:
        webhook = WebhookNotifier("chat", hook.url, Secret(SECRET), timeout=5)
        started = time.monotonic()
        await webhook.deliver(NOTIFICATION)
        assert time.monotonic() - started < 2
        await webhook.close()


async def test_proxy_settings_of_the_environment_are_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver(OK) as hook:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
        webhook = WebhookNotifier("chat", hook.url, Secret(SECRET))
        await webhook.deliver(NOTIFICATION)
        await webhook.close()
    assert len(hook.requests) == 1


@pytest.mark.parametrize(
    "url", ["http://hooks.example.com/x", "ftp://127.0.0.1/x", "https://", "/x", "http://127.0.0.1.evil.com/"]
)
def test_endpoints_that_would_leak_are_refused(url: str) -> None:
    with pytest.raises(SettingsError):
        WebhookNotifier("chat", url, Secret(SECRET))


def test_guessable_signing_secret_is_refused() -> None:
    with pytest.raises(SettingsError, match="16"):
        WebhookNotifier("chat", "https://hooks.example.com/x", Secret("short"))
