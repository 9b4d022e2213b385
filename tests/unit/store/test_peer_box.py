"""Only the box's owner reads what was sealed to it, and only unchanged."""

from __future__ import annotations

import pytest

from taskgate.store.peer_box import PeerBox, seal


def test_sealed_and_opened() -> None:
    box = PeerBox()
    sealed = seal(box.public, b"a key")
    assert b"a key" not in sealed
    assert box.open(sealed) == b"a key"
    assert seal(box.public, b"a key") != sealed


def test_another_box_opens_nothing() -> None:
    assert PeerBox().open(seal(PeerBox().public, b"a key")) is None


@pytest.mark.parametrize("at", [0, 31, 32, 36, -1])
def test_a_changed_message(at: int) -> None:
    box = PeerBox()
    sealed = bytearray(seal(box.public, b"a key"))
    sealed[at] ^= 1
    assert box.open(bytes(sealed)) is None


@pytest.mark.parametrize("sealed", [b"", b"short", bytes(32), bytes(64)])
def test_what_is_no_message(sealed: bytes) -> None:
    assert PeerBox().open(sealed) is None
