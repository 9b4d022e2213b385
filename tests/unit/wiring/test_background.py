from __future__ import annotations

import asyncio

import pytest

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
