"""AL-03 at the approvals service: no answer is a no, and what breaks around a request never turns into a yes."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from taskgate.approvals.notifiers.notification import Notification
from taskgate.approvals.notifiers.notifier import Notifier
from taskgate.approvals.notifiers.outbox import Outbox
from taskgate.approvals.notifiers.webhook import WebhookNotifier
from taskgate.approvals.requests import ApprovalClosed
from taskgate.demo.postgres_server import PostgresServer
from taskgate.domain import ApprovalState
from taskgate.errors import StoreFault
from taskgate.secrets import Secret
from taskgate.store.database import Database
from tests.integration.approvals.conftest import gateway
from tests.integration.approvals.setting import Gateway, draft, task
from tests.integration.store.databases import database, migrated_file, migrated_template, store_url
from tests.servers.folders import server_folder

__all__ = ["database", "gateway", "migrated_file", "migrated_template", "store_url"]


async def test_al_03_timeout_is_a_no_for_good(gateway: Gateway) -> None:
    alice = await gateway.person("alice")
    approval = await gateway.approvals.request(draft(held=True))
    async with gateway.running():
        waiting = gateway.approvals.decided(approval.id)
        await gateway.let_time_pass(approval.id, 601)
        assert (await asyncio.wait_for(waiting, 3)).state is ApprovalState.EXPIRED
    with pytest.raises(ApprovalClosed):
        await gateway.approvals.decide(approval.id, alice.id, True)
    assert await gateway.approvals.use_grant("d" * 64, task().owner_key) is None


async def test_al_03_store_down_refuses_and_comes_back(
    store_url: str, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the store is away nothing is asked, decided or granted; a decision made meanwhile elsewhere is heard."""
    alice = await gateway.person("alice")
    pending = await gateway.approvals.request(draft(held=True))
    granted = await gateway.approvals.request(draft("e" * 64))
    await gateway.approvals.decide(granted.id, alice.id, True)
    other = Gateway(Database(store_url), gateway.master)

    def away(**_: bool) -> object:
        raise StoreFault("The store is out of reach.")

    async with gateway.running():
        waiting = gateway.approvals.decided(pending.id)
        await asyncio.sleep(0.05)
        for way in ("statement", "transaction"):
            monkeypatch.setattr(gateway.database, way, away)
        for attempt in (
            gateway.approvals.use_grant("e" * 64, task().owner_key),
            gateway.approvals.request(draft("f" * 64)),
            gateway.approvals.decide(pending.id, alice.id, True),
            gateway.approvals.withdraw(pending.id, "x"),
            gateway.approvals.expire_due(),
        ):
            with pytest.raises(StoreFault):
                await attempt
        await other.approvals.decide(pending.id, alice.id, True)
        await asyncio.sleep(0.4)
        assert not waiting.done()
        assert time.monotonic() - gateway.signals.last_contact > 0.3
        monkeypatch.undo()
        assert (await asyncio.wait_for(waiting, 3)).state is ApprovalState.APPROVED
    await other.database.close()


@pytest.fixture
def server(postgres18: PostgresServer) -> Iterator[PostgresServer]:
    """A store's server of its own, to be stopped."""
    with server_folder("store") as folder:
        yield PostgresServer(postgres18.bin, folder)


async def test_al_03_real_store_outage_is_a_store_fault_and_heals(server: PostgresServer) -> None:
    """A PostgreSQL store of its own is stopped and started again under a running gateway."""
    server.start()
    try:
        own = Database(server.dsn(), timeout=2)
        await own.migrate()
        gateway = Gateway(own)
        alice = await gateway.person("alice")
        approval = await gateway.approvals.request(draft())
        async with gateway.running():
            server.stop()
            with pytest.raises(StoreFault):
                await gateway.approvals.decide(approval.id, alice.id, True)
            with pytest.raises(StoreFault):
                await gateway.approvals.use_grant("d" * 64, task().owner_key)
            await asyncio.sleep(1.2)
            assert not gateway.signals.in_contact
            server.start()
            deadline = time.monotonic() + 5
            while not gateway.signals.in_contact:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            await gateway.approvals.decide(approval.id, alice.id, True)
            assert await gateway.approvals.use_grant("d" * 64, task().owner_key) is not None
        await own.close()
    finally:
        server.stop()


async def test_al_03_store_that_hangs_is_out_of_reach_in_bounded_time(server: PostgresServer) -> None:
    """Every process of the store's server is frozen: connections stay open, nothing answers, nothing is granted."""
    server.start()
    frozen: list[int] = []
    try:
        own = Database(server.dsn(), timeout=0.5)
        await own.migrate()
        gateway = Gateway(own)
        alice = await gateway.person("alice")
        approval = await gateway.approvals.request(draft())
        await gateway.approvals.decide(approval.id, alice.id, True)
        async with gateway.running():
            assert server.process
            parent_id = server.process.pid
            children = Path(f"/proc/{parent_id}/task/{parent_id}/children").read_text().split()
            frozen = [parent_id, *map(int, children)]
            for process in frozen:
                os.kill(process, signal.SIGSTOP)
            started = time.monotonic()
            with pytest.raises(StoreFault):
                await gateway.approvals.use_grant("d" * 64, task().owner_key)
            assert time.monotonic() - started < 2
            await asyncio.sleep(1.2)
            assert not gateway.signals.in_contact
            while frozen:
                os.kill(frozen.pop(), signal.SIGCONT)
            assert await gateway.approvals.use_grant("d" * 64, task().owner_key) is not None
        await own.close()
    finally:
        for process in frozen:
            os.kill(process, signal.SIGCONT)
        server.stop()


class Broken:
    """A notifier as bad as they come: `how` says in which way."""

    name = "broken"

    def __init__(self, how: str) -> None:
        self.how = how

    async def deliver(self, notification: Notification) -> None:
        if self.how == "hangs":
            await asyncio.sleep(3600)
        raise RuntimeError("canary-secret of the notifier")

    async def close(self) -> None: ...


class Refusing(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("nobody there")


@pytest.mark.parametrize("how", ["raises", "hangs", "refuses"])
async def test_al_03_notifier_down_changes_nothing_else(
    database: Database, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    notifier: Notifier = Broken(how)
    if how == "refuses":
        url = "https://hooks.example.com/x"
        notifier = WebhookNotifier("broken", url, Secret("s" * 16), transport=Refusing())
    outbox = Outbox(database, [notifier], lambda approval_id: f"https://gate/{approval_id}", interval=0.02)
    gateway = Gateway(database, outbox=outbox)
    alice = await gateway.person("alice")
    delivering = asyncio.create_task(outbox.run())
    async with gateway.running():
        for number in range(5):
            digest = f"{number:064d}"
            approval = await gateway.approvals.request(draft(digest, held=True))
            waiting = gateway.approvals.decided(approval.id)
            started = time.monotonic()
            await gateway.approvals.decide(approval.id, alice.id, True)
            assert (await asyncio.wait_for(waiting, 3)).state is ApprovalState.APPROVED
            assert time.monotonic() - started < 2.5, "it does not wait for the notifier, which takes longer"
            assert await gateway.approvals.use_grant(digest, task().owner_key) is not None
    assert not delivering.done()
    delivering.cancel()
    await asyncio.gather(delivering, return_exceptions=True)
    assert "canary-secret" not in "".join(capsys.readouterr())


async def test_al_03_restart_with_parked_statements(gateway: Gateway, store_url: str) -> None:
    """The process that held the connection is gone: the request stays, a person decides, the retry finds the grant."""
    approval = await gateway.approvals.request(draft(principal=task("ti-1"), held=True))
    await gateway.database.close()
    after = Gateway(Database(store_url), gateway.master)
    alice = await after.person("alice")
    await after.approvals.decide(approval.id, alice.id, True)
    used = await after.approvals.use_grant("d" * 64, task("ti-2").owner_key)
    assert used is not None
    assert used.id == approval.id
    await after.database.close()


async def test_al_03_retry_zombie_and_two_workers_share_one_request_and_one_use(
    gateway: Gateway, store_url: str
) -> None:
    other = Gateway(Database(store_url), gateway.master)
    alice = await gateway.person("alice")
    mine, theirs = await asyncio.gather(
        gateway.approvals.request(draft(principal=task("ti-1"), session_id="ses_1", held=True)),
        other.approvals.request(draft(principal=task("ti-1"), session_id="ses_2", held=True)),
    )
    assert mine.id == theirs.id
    await gateway.approvals.withdraw(mine.id, "the zombie went away")
    await other.approvals.decide(mine.id, alice.id, True)
    used = await asyncio.gather(
        gateway.approvals.use_grant("d" * 64, task("ti-1").owner_key, session_id="ses_1"),
        other.approvals.use_grant("d" * 64, task("ti-1").owner_key, session_id="ses_2"),
    )
    assert sum(grant is not None for grant in used) == 1
    await other.database.close()
