"""Who is let in, and that whatever goes wrong on the way leaves no place taken, no session open and no recording
unfinished. The store (SQLite), the recorder, credentials and policy are the real ones; the target is a stand-in, since
opening needs nothing of it but its catalogue and its password."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from taskgate.approvals.digest import ActionDigest
from taskgate.approvals.requests import Approvals
from taskgate.domain import Credential
from taskgate.enforcement.cancel_routing import CancelRouting
from taskgate.enforcement.decisions import DecisionScopes
from taskgate.enforcement.early_events import EACH
from taskgate.enforcement.gate import TaskgateGate
from taskgate.enforcement.live import LiveSessions
from taskgate.enforcement.parking import Parking
from taskgate.enforcement.services import Services
from taskgate.enforcement.targets import GovernedTarget
from taskgate.errors import ClientFault, GatewayFault, JournalFault, StoreFault, TargetFault, TooManySessions
from taskgate.identity.credentials import Credentials
from taskgate.metrics import Metrics
from taskgate.policy.holder import PolicyHolder
from taskgate.recording.header import SessionHeader
from taskgate.recording.recorder import Recorder
from taskgate.secrets import SecretSources
from taskgate.sql.catalog import Catalog
from taskgate.store.database import Database
from taskgate.store.processes import GatewayProcess
from taskgate.store.sessions import SessionFilter, SessionIndex
from taskgate.store.signals import Signals
from tests.unit.policy.builders import ORDERS, rule, rules, task
from tests.unit.recording.faulty_disk import FaultyDisk
from tests.unit.sql.catalogs import CATALOG

SMALL = replace(ORDERS, max_sessions=2)


class KnownTarget(GovernedTarget):
    """The stand-in: a catalogue that is there, or a target that is not."""

    away = False

    async def ready(self) -> Catalog:
        if self.away:
            raise TargetFault("taskgate: the catalogue cannot be read")
        return CATALOG

    @property
    def catalog(self) -> Catalog:
        return CATALOG


class Entrance:
    def __init__(self, folder: Path) -> None:
        policy = folder / "policy.yaml"
        policy.write_text("version: 1\n" + rules(rule("allow")))
        self.disk = FaultyDisk()
        self.database = Database(f"sqlite:///{folder / 'store.sqlite'}")
        self.process = GatewayProcess(self.database, version="test")
        self.signals = Signals(self.database)
        self.signals.last_contact = float("inf")
        self.credentials = Credentials(self.database, self.signals, max_ttl=3600)
        self.recorder = Recorder(folder / "data", disk=self.disk)
        self.index = SessionIndex(self.database, self.process.id)
        self.metrics = Metrics()
        self.live = LiveSessions()
        self.target = KnownTarget(SMALL, SecretSources())
        holder = PolicyHolder([policy])
        self.own = self.recorder.open(SessionHeader("own_1", holder.current.version, ""))
        self.services = Services(
            policy=holder, scopes=DecisionScopes(b"k" * 32),
            parking=Parking(cast(Approvals, None), ActionDigest(b"k" * 32), str, 5),
            cancels=CancelRouting(self.signals, b"k" * 32, lambda: False), recorder=self.recorder,
            own_recording=self.own, credentials=self.credentials, index=self.index, signals=self.signals,
            metrics=self.metrics,
        )  # fmt: skip
        self.gate = TaskgateGate(self.services, {SMALL.name: self.target}, self.live)

    async def credential(self, target: str = SMALL.name) -> Credential:
        return (await self.credentials.issue(task(), target, 60, "test"))[0]

    async def open(self, credential: Credential | None = None, **options: str) -> Any:
        credential = credential or await self.credential()
        return await self.gate.open(
            credential, protocol="postgres", client_address="10.0.0.7", options=options, begun=lambda session: None
        )

    def kinds(self, session_id: str) -> list[str]:
        self.recorder.write()
        return [str(record.kind) for record in self.recorder.recordings.read(session_id)]

    def events(self) -> list[tuple[str, dict[str, object]]]:
        """The process's own recording."""
        self.recorder.write()
        contents = [record.content for record in self.recorder.recordings.read("own_1")]
        return [(content["name"], dict(content["fields"])) for content in contents if content and "name" in content]

    async def is_empty(self) -> bool:
        """Nobody is in, every place is free."""
        opened = []
        try:
            for _ in range(SMALL.max_sessions):
                opened.append(await self.open())
            with pytest.raises(TooManySessions):
                await self.open()
        finally:
            for session in opened:
                await session.close("test")
        return len(self.live) == 0


@pytest.fixture
async def entrance(tmp_path: Path) -> AsyncIterator[Entrance]:
    entrance = Entrance(tmp_path)
    await entrance.database.migrate()
    await entrance.process.register()
    yield entrance
    entrance.disk.__init__()  # type: ignore[misc]
    await entrance.recorder.stop()
    await entrance.index.stop()
    await entrance.database.close()


async def test_who_is_let_in_is_listed_recorded_and_indexed(entrance: Entrance) -> None:
    credential = await entrance.credential()
    session = await entrance.open(credential, wait="refuse")
    assert entrance.live.get(session.id) is session
    assert entrance.kinds(session.id) == ["session_opened"]
    found = await entrance.index.search(SessionFilter(), None, 10)
    assert [one.id for one in found.items] == [session.id]
    await session.close("the client is done")
    await session.close("again")
    assert entrance.kinds(session.id) == ["session_opened", "session_closed"]
    assert await entrance.is_empty()


async def test_only_living_credentials_are_found(entrance: Entrance) -> None:
    credential = await entrance.credential()
    assert await entrance.gate.credential(credential.id) == credential
    await entrance.credentials.revoke(credential.id, "alice", "test")
    for user in (credential.id, "postgres", ""):
        assert await entrance.gate.credential(user) is None


async def test_a_credential_revoked_since_it_was_found_opens_nothing(entrance: Entrance) -> None:
    credential = await entrance.credential()
    await entrance.credentials.revoke(credential.id, "alice", "test")
    with pytest.raises(ClientFault):
        await entrance.open(credential)
    assert await entrance.is_empty()


async def test_a_revocation_while_the_store_is_asked_finds_the_session(
    entrance: Entrance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal may come before the index has answered: the session must be in the list by then."""
    credential, real = await entrance.credential(), entrance.index.opened

    async def revoked_meanwhile(*arguments: Any, **named: Any) -> None:
        await real(*arguments, **named)
        assert entrance.live.end("the credential was revoked", lambda one: one.credential.id == credential.id) == 1

    monkeypatch.setattr(entrance.index, "opened", revoked_meanwhile)
    session = await entrance.open(credential)
    assert session.ended.result() == "the credential was revoked"
    await session.close("ended")


async def test_a_session_ends_with_its_credential(entrance: Entrance) -> None:
    credential = await entrance.credential()
    soon = replace(credential, expires_at=datetime.now(UTC) + timedelta(seconds=0.05))
    session = await entrance.open(soon)
    assert await asyncio.wait_for(session.ended, 5) == "the credential expired"
    await session.close("ended")
    late = await entrance.open(replace(credential, expires_at=datetime.now(UTC) - timedelta(seconds=5)))
    assert await asyncio.wait_for(late.ended, 5) == "the credential expired"
    await late.close("ended")


def target_away(entrance: Entrance) -> None:
    entrance.target.away = True


def store_silent(entrance: Entrance) -> None:
    entrance.signals.last_contact = float("-inf")


def disk_full(entrance: Entrance) -> None:
    entrance.disk.room = 0


@pytest.mark.parametrize(
    ("broken", "fault"), [(target_away, TargetFault), (store_silent, StoreFault), (disk_full, JournalFault)]
)
async def test_what_is_away_keeps_people_out_and_leaves_nothing_behind(
    entrance: Entrance, broken: Callable[[Entrance], None], fault: type[Exception]
) -> None:
    credential = await entrance.credential()
    broken(entrance)
    for _ in range(SMALL.max_sessions + 1):
        with pytest.raises(fault):
            await entrance.open(credential)
    assert len(entrance.live) == 0
    entrance.target.away = False
    entrance.signals.last_contact = float("inf")
    entrance.disk.__init__()  # type: ignore[misc]
    await entrance.recorder.sync()
    assert await entrance.is_empty()


async def test_who_gives_up_while_the_store_is_asked_leaves_nothing_behind(
    entrance: Entrance, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()

    async def never(*_: Any, **__: Any) -> None:
        reached.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(entrance.index, "opened", never)
        opening = asyncio.ensure_future(entrance.open())
        await reached.wait()
        (session,) = entrance.live
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    assert entrance.kinds(session.id)[-1] == "session_closed"
    assert await entrance.is_empty()


async def test_a_target_that_is_not_configured_here(entrance: Entrance) -> None:
    with pytest.raises(TargetFault, match="not configured here"):
        await entrance.open(await entrance.credential("other-db"))
    assert await entrance.is_empty()


@pytest.mark.parametrize("options", [{"wait": "forever"}, {"wait": ""}, {"wait": "HOLD"}, {"mode": "refuse"}])
async def test_options_that_do_not_exist_are_refused(entrance: Entrance, options: dict[str, str]) -> None:
    with pytest.raises(ClientFault, match="taskgate"):
        await entrance.open(**options)
    assert await entrance.is_empty()


async def test_the_targets_password_is_fetched_for_its_session(
    entrance: Entrance, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await entrance.open()
    monkeypatch.delenv("ORDERS", raising=False)
    with pytest.raises(GatewayFault):
        await entrance.gate.target_secret(session)
    monkeypatch.setitem(os.environ, "ORDERS", "brokered")
    assert await entrance.gate.target_secret(session) == "brokered"
    await session.close("done")


async def test_what_happens_before_a_session_is_in_the_processes_own_recording(entrance: Entrance) -> None:
    entrance.gate.authentication_failed(protocol="postgres", client_address="10.0.0.7", user="tg_x", reason="wrong")
    entrance.gate.malformed(protocol="postgres", client_address="10.0.0.8", reason="no startup in time")
    assert entrance.events() == [
        (
            "authentication_failed",
            {"protocol": "postgres", "client_address": "10.0.0.7", "user": "tg_x", "reason": "wrong"},
        ),
        ("malformed", {"protocol": "postgres", "client_address": "10.0.0.8", "reason": "no startup in time"}),
    ]


async def test_a_flood_before_the_door_is_counted_at_the_end(entrance: Entrance) -> None:
    for _ in range(1000):
        entrance.gate.authentication_failed(protocol="postgres", client_address="10.0.0.7", user="tg_x", reason="wrong")
    entrance.gate.close()
    names = [name for name, _ in entrance.events()]
    assert names == ["authentication_failed"] * EACH + ["authentication_failed_more"]
    failed = {
        sample.value for metric in entrance.metrics.collect() for sample in metric.samples if "auth" in sample.name
    }
    assert 1000 in failed, "the metrics count every one"
