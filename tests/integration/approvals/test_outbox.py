from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import select, update

from taskgate.approvals.notifiers.notification import Notification
from taskgate.approvals.notifiers.notifier import DeliveryFault, notifier_class
from taskgate.approvals.notifiers.outbox import Outbox
from taskgate.errors import SettingsError
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.tables import notifications, notifier_states
from tests.integration.approvals.setting import Gateway, draft


class Mailbox:
    """A notifier that keeps what it gets, after failing `fails` times."""

    def __init__(self, name: str = "mailbox", fails: int = 0, takes: float = 0.0) -> None:
        self.name = name
        self.fails = fails
        self.takes = takes
        self.tries = 0
        self.closed = 0
        self.got: list[Notification] = []

    async def deliver(self, notification: Notification) -> None:
        self.tries += 1
        await asyncio.sleep(self.takes)
        if self.tries <= self.fails:
            raise DeliveryFault("The mailbox is full.")
        self.got.append(notification)

    async def close(self) -> None:
        self.closed += 1


def outbox(database: Database, *mailboxes: Mailbox, **options: float) -> Outbox:
    settings: dict[str, float] = {"first_backoff": 0.01, "interval": 0.02, "pause": 0.1} | options
    return Outbox(database, mailboxes, lambda approval_id: f"https://gate/{approval_id}", **settings)  # type: ignore[arg-type]


@asynccontextmanager
async def delivering(box: Outbox) -> AsyncIterator[None]:
    task = asyncio.create_task(box.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.01)


async def ask_and_decide(gateway: Gateway) -> str:
    alice = await gateway.person("alice")
    approval = await gateway.approvals.request(draft())
    await gateway.approvals.decide(approval.id, alice.id, True)
    return approval.id


async def test_request_and_decision_are_told_to_every_endpoint(database: Database) -> None:
    one, other = Mailbox("one"), Mailbox("other")
    box = outbox(database, one, other)
    gateway = Gateway(database, outbox=box)
    async with delivering(box):
        approval_id = await ask_and_decide(gateway)
        await until(lambda: len(one.got) == len(other.got) == 2)
        assert one.closed == 0
    assert one.closed == other.closed == 1
    assert [(got.event, got.state) for got in one.got] == [
        ("approval.requested", "pending"),
        ("approval.decided", "approved"),
    ]
    assert {got.url for got in one.got} == {f"https://gate/{approval_id}"}
    assert len({got.id for got in (*one.got, *other.got)}) == 4


async def test_undelivered_survives_a_restart(database: Database, store_url: str) -> None:
    gateway = Gateway(database, outbox=outbox(database, Mailbox()))
    await ask_and_decide(gateway)  # nobody delivers in this process
    await database.close()
    again, mailbox = Database(store_url), Mailbox()
    async with delivering(outbox(again, mailbox)):
        await until(lambda: len(mailbox.got) == 2)
    await again.close()


async def test_failures_are_tried_again_later_and_counted(database: Database) -> None:
    mailbox = Mailbox(fails=3)
    box = outbox(database, mailbox, pause_after=99)
    gateway = Gateway(database, outbox=box)
    await gateway.approvals.request(draft())
    async with delivering(box):
        await until(lambda: len(mailbox.got) == 1)
        await asyncio.sleep(0.1)
    async with database.statement() as connection:
        row = (await connection.execute(select(notifications))).one()
        state = (await connection.execute(select(notifier_states))).one()
    assert (row.state, row.attempts, row.last_error) == ("sent", 4, None)
    assert row.sent_at is not None
    assert (state.failures, state.last_error) == (0, None)
    assert state.last_failure_at is not None


async def test_attempts_are_bounded(database: Database) -> None:
    mailbox = Mailbox(fails=1000)
    box = outbox(database, mailbox, attempts=3, pause_after=99)
    gateway = Gateway(database, outbox=box)
    await gateway.approvals.request(draft())
    async with delivering(box):
        await until(lambda: mailbox.tries == 3)
        await asyncio.sleep(0.3)
    assert mailbox.tries == 3
    async with database.statement() as connection:
        row = (await connection.execute(select(notifications))).one()
    assert (row.state, row.last_error) == ("failed", "The mailbox is full.")


async def test_broken_endpoint_rests_and_recovers_and_holds_up_no_other(database: Database) -> None:
    broken, healthy = Mailbox("broken", fails=4), Mailbox("healthy")
    box = outbox(database, broken, healthy, pause_after=2, pause=0.3)
    gateway = Gateway(database, outbox=box)
    for number in range(4):
        await gateway.approvals.request(draft(f"{number:064d}"))
    async with delivering(box):
        await until(lambda: len(healthy.got) == 4)
        await until(lambda: broken.tries == 2)
        await asyncio.sleep(0.1)
        assert broken.tries == 2  # it rests
        await until(lambda: len(broken.got) == 4, seconds=10)
    assert {got.approval_id for got in broken.got} == {got.approval_id for got in healthy.got}


async def test_slow_endpoint_holds_up_no_other(database: Database) -> None:
    slow, fast = Mailbox("slow", takes=30), Mailbox("fast")
    box = outbox(database, slow, fast)
    gateway = Gateway(database, outbox=box)
    async with delivering(box):
        await ask_and_decide(gateway)
        await until(lambda: len(fast.got) == 2)
    assert slow.got == []


async def test_two_processes_deliver_each_notification_once(database: Database, store_url: str) -> None:
    other = Database(store_url)
    mailboxes = [Mailbox(takes=0.005), Mailbox(takes=0.005)]
    boxes = [outbox(database, mailboxes[0]), outbox(other, mailboxes[1])]
    gateway = Gateway(database, outbox=boxes[0])
    for number in range(20):
        await gateway.approvals.request(draft(f"{number:064d}"))
    async with delivering(boxes[0]), delivering(boxes[1]):
        await until(lambda: sum(len(mailbox.got) for mailbox in mailboxes) == 20)
        await asyncio.sleep(0.2)
    assert len({got.id for mailbox in mailboxes for got in mailbox.got}) == 20
    assert sum(mailbox.tries for mailbox in mailboxes) == 20
    await other.close()


async def test_process_that_dies_while_delivering_costs_a_delay_only(database: Database) -> None:
    mailbox = Mailbox(takes=30)
    box = outbox(database, mailbox)
    gateway = Gateway(database, outbox=box)
    await gateway.approvals.request(draft())
    async with delivering(box):
        await until(lambda: mailbox.tries == 1)
    mailbox.takes = 0
    assert not await box.deliver_one(mailbox)  # leased
    async with database.statement(writes=True) as connection:
        await connection.execute(update(notifications).values(next_attempt_at=database_time(-1)))
    assert await box.deliver_one(mailbox)
    assert len(mailbox.got) == 1


async def test_request_that_is_rolled_back_is_not_announced(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = Gateway(database, outbox=outbox(database, Mailbox()))

    async def fail(*_: object) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr(gateway.signals, "append", fail)
    with pytest.raises(RuntimeError):
        await gateway.approvals.request(draft())
    async with database.statement() as connection:
        assert (await connection.execute(select(notifications))).all() == []


async def test_delivered_and_given_up_are_pruned_and_the_rest_kept(database: Database) -> None:
    mailbox = Mailbox()
    box = outbox(database, mailbox)
    gateway = Gateway(database, outbox=box)
    await ask_and_decide(gateway)
    await box.deliver_one(mailbox)
    assert await box.prune() == 0
    assert await box.prune(keep=-1) == 1
    async with database.statement() as connection:
        assert [row.state for row in (await connection.execute(select(notifications))).all()] == ["pending"]


def test_endpoints_need_names_of_their_own(database: Database) -> None:
    with pytest.raises(ValueError):
        outbox(database, Mailbox("same"), Mailbox("same"))


def test_unknown_notifier_kind_is_refused() -> None:
    with pytest.raises(SettingsError, match="carrier-pigeon"):
        notifier_class("carrier-pigeon")


async def test_a_retry_that_asks_again_notifies_nobody_again(database: Database) -> None:
    mailbox = Mailbox()
    box = outbox(database, mailbox)
    gateway = Gateway(database, outbox=box)
    async with delivering(box):
        first = await gateway.approvals.request(draft(held=True, hold=5.0))
        await gateway.approvals.leave_open(first.id)
        await gateway.approvals.request(draft(held=True, hold=5.0, session_id="ses_2"))
        await gateway.approvals.leave_open(first.id)
        await gateway.approvals.withdraw_all(first.owner_key, "the run was cleared")
        await until(lambda: len(mailbox.got) >= 2)
    assert [(one.event, one.state) for one in mailbox.got] == [
        ("approval.requested", "pending"), ("approval.decided", "withdrawn"),
    ]  # fmt: skip
