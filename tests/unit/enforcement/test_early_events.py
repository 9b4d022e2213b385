"""Failed logins are recorded, and a flood of them costs a bounded number of records."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from taskgate.enforcement import early_events
from taskgate.enforcement.early_events import ADDRESSES, ALL, EACH, EarlyEvents
from taskgate.errors import GatewayFault
from taskgate.metrics import Metrics
from taskgate.recording.header import SessionHeader
from taskgate.recording.recorder import Recorder
from tests.unit.recording.faulty_disk import FaultyDisk

FAILED = "authentication_failed"


class Door:
    def __init__(self, folder: Path, buffer_bytes: int = 1 << 20) -> None:
        self.disk = FaultyDisk()
        self.recorder = Recorder(folder, disk=self.disk, buffer_bytes=buffer_bytes)
        self.events = EarlyEvents(self.recorder.open(SessionHeader("own_1", "policy-1", "")), Metrics())

    def fail(self, times: int, address: str = "10.0.0.7", name: str = FAILED) -> None:
        for number in range(times):
            self.events.note(name, client_address=address, user=f"tg_{number}", reason="wrong")

    def recorded(self) -> list[tuple[str, dict[str, object]]]:
        self.recorder.write()
        contents = [record.content for record in self.recorder.recordings.read("own_1")]
        return [(content["name"], dict(content["fields"])) for content in contents if content]

    def counts(self) -> Counter[str]:
        return Counter(name for name, _ in self.recorded())

    def counted(self, name: str = FAILED) -> dict[object, object]:
        """By address, what was not recorded one by one."""
        more = [fields for found, fields in self.recorded() if found == f"{name}_more"]
        return {fields["client_address"]: fields["count"] for fields in more}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    door = Door(tmp_path)
    yield door
    door.events.close()
    door.disk.__init__()  # type: ignore[misc]
    await door.recorder.stop()


async def test_a_few_are_recorded_one_by_one(door: Door) -> None:
    door.fail(EACH)
    door.events.close()
    assert door.counts() == {FAILED: EACH}
    assert door.recorded()[3] == (FAILED, {"client_address": "10.0.0.7", "user": "tg_3", "reason": "wrong"})


async def test_a_flood_is_counted_and_nobody_is_forgotten(door: Door) -> None:
    door.fail(50_000)
    door.fail(3, "10.0.0.8")
    assert door.counts() == {FAILED: EACH + 3}
    door.events.close()
    assert door.counts() == {FAILED: EACH + 3, f"{FAILED}_more": 1}
    assert door.counted() == {"10.0.0.7": 50_000 - EACH}


async def test_kinds_do_not_hide_each_other(door: Door) -> None:
    door.fail(1000, name="malformed")
    door.fail(1)
    assert door.counts() == {"malformed": EACH, FAILED: 1}


async def test_a_flood_from_many_addresses_is_bounded_too(door: Door) -> None:
    addresses = [f"10.0.{number // 256}.{number % 256}" for number in range(5000)]
    for address in addresses:
        door.fail(2, address)
    door.events.close()
    assert door.counts()[FAILED] == ALL
    counted = door.counted()
    assert len(counted) <= ADDRESSES + 1
    assert sum(int(str(count)) for count in counted.values()) == 2 * len(addresses) - ALL
    assert "" in counted


async def test_every_window_begins_anew(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early_events, "WINDOW", 0.05)
    door.fail(100)
    async with asyncio.timeout(10):
        while not door.counted():
            await asyncio.sleep(0.01)
    assert door.counted() == {"10.0.0.7": 100 - EACH}
    door.fail(100)
    assert door.counts()[FAILED] == 2 * EACH


async def test_names_are_shortened(door: Door) -> None:
    door.events.note(FAILED, client_address="10.0.0.7", user="x" * 10_000)
    assert door.recorded() == [(FAILED, {"client_address": "10.0.0.7", "user": "x" * 256})]


async def test_who_cannot_be_recorded_is_turned_away_all_the_same(tmp_path: Path) -> None:
    door = Door(tmp_path, buffer_bytes=1)
    door.fail(EACH + 5)
    door.events.close()
    door.recorder.write()
    with pytest.raises(GatewayFault, match="no session own_1"):
        door.recorded()
    await door.recorder.stop()
