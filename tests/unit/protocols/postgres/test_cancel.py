"""Cancel keys: only the pair that was issued, only while the session lives, here or by its name from elsewhere."""

from __future__ import annotations

import asyncio

from taskgate.protocols.postgres.cancel import CancelKeys


async def nothing() -> None:
    return


def name(process: int, secret: bytes) -> str:
    return f"{process}/{secret.hex()}"


def test_keys() -> None:
    keys = CancelKeys(name)
    process, secret = keys.issue(nothing)
    assert 0 < process < 2**31
    assert keys.find(process, secret) is nothing
    assert keys.find(process, b"\0\0\0\0") is None or secret == b"\0\0\0\0"
    assert keys.find(process, secret + b"\0") is None
    assert keys.find(process + 1, secret) is None
    assert keys.find(0, b"\0\0\0\0") is None
    keys.withdraw(process)
    assert keys.find(process, secret) is None
    assert len(keys) == 0


def test_keys_differ() -> None:
    keys = CancelKeys(name)
    assert len({keys.issue(nothing) for _ in range(200)}) == 200


async def test_a_key_called_by_its_name_is_cancelled_while_it_lives() -> None:
    keys = CancelKeys(name)
    cancelled: list[int] = []

    async def cancel() -> None:
        cancelled.append(1)

    process, secret = keys.issue(cancel)
    keys.called(name(process, secret + b"\0"))
    keys.called(name(process, secret))
    await asyncio.sleep(0)
    assert cancelled == [1]
    keys.withdraw(process)
    keys.called(name(process, secret))
    await asyncio.sleep(0)
    assert cancelled == [1]


def test_long_keys() -> None:
    keys = CancelKeys(name)
    process, secret = keys.issue(nothing, long=True)
    assert len(secret) == 32
    assert keys.find(process, secret) is nothing
    assert keys.find(process, secret[:4]) is None
