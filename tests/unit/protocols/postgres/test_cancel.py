"""Cancel keys: only the pair that was issued, only while the session lives."""

from __future__ import annotations

import pytest

from taskgate.protocols.postgres.cancel import CancelKeys, owner_of


async def nothing() -> None:
    return


def test_keys() -> None:
    keys = CancelKeys(owner=5)
    process, secret = keys.issue(nothing)
    assert process >> 21 == 5
    assert 0 < process < 2**31
    assert keys.find(process, secret) is nothing
    assert keys.find(process, b"\0\0\0\0") is None or secret == b"\0\0\0\0"
    assert keys.find(process, secret + b"\0") is None
    assert keys.find(process + 1, secret) is None
    assert keys.find(0, b"\0\0\0\0") is None
    keys.withdraw(process)
    assert keys.find(process, secret) is None
    assert len(keys) == 0


def test_long_keys() -> None:
    keys = CancelKeys(owner=1023)
    process, secret = keys.issue(nothing, long=True)
    assert len(secret) == 32
    assert owner_of(process) == 1023
    assert keys.find(process, secret) is nothing
    assert keys.find(process, secret[:4]) is None
    assert keys.find(process, secret[:-1]) is None


def test_keys_differ() -> None:
    keys = CancelKeys()
    assert len({keys.issue(nothing) for _ in range(200)}) == 200


@pytest.mark.parametrize("owner", [-1, 1024])
def test_owners(owner: int) -> None:
    with pytest.raises(ValueError, match="10 bits"):
        CancelKeys(owner)
