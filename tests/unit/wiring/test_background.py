from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from taskgate.wiring import background as background_module
from taskgate.wiring.background import Background


async def forever() -> None:
    await asyncio.Event().wait()


async def test_one_that_fails_is_told_of() -> None:
    background = Background()

    async def failing() -> None:
        raise OSError("no")

    background.spawn("forever", forever())
    background.spawn("failing", failing())
    with pytest.raises(RuntimeError, match="failing failed"):
        await asyncio.wait_for(asyncio.shield(background.failed), 5)
    await background.stop()


async def test_one_that_ends_is_as_bad() -> None:
    background = Background()
    background.spawn("over", asyncio.sleep(0))
    with pytest.raises(RuntimeError, match="over failed"):
        await asyncio.wait_for(asyncio.shield(background.failed), 5)


async def test_stopping_is_no_failure() -> None:
    background = Background()
    background.spawn("forever", forever())
    await asyncio.sleep(0)
    await background.stop()
    assert not background.failed.done()


async def test_what_is_about_one_orchestrator_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_module, "PAUSE", 0.01)
    background, started, going = Background(), 0, asyncio.Event()

    async def unsteady() -> None:
        nonlocal started
        started += 1
        if started == 1:
            raise AttributeError("'str' object has no attribute 'get'")
        if started == 3:
            going.set()
            await forever()

    with capture_logs() as logs:
        background.spawn_again("waiting runs of prod", unsteady)
        await asyncio.wait_for(going.wait(), 5)
    assert not background.failed.done()
    assert [(line["event"], line["task"], line["error"]) for line in logs] == [
        ("gateway.background_restarted", "waiting runs of prod", "AttributeError"),
        ("gateway.background_restarted", "waiting runs of prod", "RuntimeError"),
    ]
    assert isinstance(logs[0]["exc_info"], AttributeError)
    await background.stop()
    await asyncio.sleep(0.05)
    assert (started, background.failed.done()) == (3, False)


async def test_it_is_not_started_again_at_once() -> None:
    background, started = Background(), 0

    async def failing() -> None:
        nonlocal started
        started += 1
        raise OSError("no")

    background.spawn_again("failing", failing)
    await asyncio.sleep(0.1)
    assert started == 1
    await background.stop()
    assert not background.failed.done()
