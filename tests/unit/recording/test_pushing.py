from __future__ import annotations

import asyncio
import threading
import time

import pytest

from taskgate.recording import pushing
from taskgate.recording.pushing import Pusher


class Sink:
    def __init__(self) -> None:
        self.failures = 0
        self.got: list[bytes] = []
        self.gate = threading.Event()
        self.gate.set()

    def push(self, line: bytes) -> None:
        self.gate.wait(10)
        if self.failures:
            self.failures -= 1
            raise ConnectionError("away")
        self.got.append(line)


async def test_in_order_and_again_until_they_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushing, "RETRY_AFTER", 0.01)
    sink = Sink()
    sink.failures = 3
    pusher = Pusher(sink)
    for number in range(5):
        pusher.add(b"%d" % number)
    await pusher.stop()
    assert sink.got == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_slow_sink_is_in_nobodys_way() -> None:
    sink = Sink()
    sink.gate.clear()
    pusher = Pusher(sink)
    started = time.monotonic()
    for _ in range(100):
        pusher.add(b"line")
        await asyncio.sleep(0)
    assert time.monotonic() - started < 1
    assert sink.got == []
    sink.gate.set()
    await pusher.stop()
    assert len(sink.got) == 100


async def test_stopping_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushing, "STOP_WITHIN", 0.05)
    monkeypatch.setattr(pushing, "RETRY_AFTER", 0.01)
    sink = Sink()
    sink.failures = 10**9
    pusher = Pusher(sink)
    pusher.add(b"line")
    started = time.monotonic()
    await pusher.stop()
    assert time.monotonic() - started < 1
