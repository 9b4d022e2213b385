"""AL-06: no byte of a bundle may be changed, cut or moved without verification saying so."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskgate.errors import GatewayFault
from taskgate.recording.export import export
from taskgate.recording.keys import PublicKey
from taskgate.recording.recorder import Recorder
from taskgate.recording.verify import verify
from tests.unit.recording.samples import session


@pytest.fixture(scope="module")
def bundle() -> Iterator[tuple[bytes, PublicKey, Path]]:
    async def make(data_dir: Path) -> None:
        recorder = Recorder(data_dir)
        recorder.policy_text("policy-1", {"policy.yaml": "version: 1"})
        session(recorder, "ses_a", statements=2)
        await recorder.settle()
        session(recorder, "ses_b", statements=1)
        await recorder.stop()

    with tempfile.TemporaryDirectory() as temporary:
        data_dir = Path(temporary) / "data"
        asyncio.run(make(data_dir))
        export(data_dir, Path(temporary) / "bundle.zip", None)
        key = PublicKey.parse((data_dir / "keys" / "checkpoint.pub").read_bytes())
        yield (Path(temporary) / "bundle.zip").read_bytes(), key, Path(temporary) / "changed.zip"


def accepted(data: bytes, key: PublicKey, place: Path) -> bool:
    place.write_bytes(data)
    try:
        return verify(place, public_keys=[key]).ok
    except GatewayFault:
        return False


def test_al_06_the_bundle_itself_is_accepted(bundle: tuple[bytes, PublicKey, Path]) -> None:
    assert accepted(*bundle)


FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(st.data())
def test_al_06_a_flipped_bit(bundle: tuple[bytes, PublicKey, Path], data: st.DataObject) -> None:
    whole, key, place = bundle
    changed = bytearray(whole)
    changed[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert not accepted(bytes(changed), key, place)


@FUZZ
@given(st.data())
def test_al_06_a_piece_cut_out(bundle: tuple[bytes, PublicKey, Path], data: st.DataObject) -> None:
    whole, key, place = bundle
    start = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(start + 1, len(whole)))
    assert not accepted(whole[:start] + whole[end:], key, place)


@FUZZ
@given(st.data())
def test_al_06_two_pieces_changed_over(bundle: tuple[bytes, PublicKey, Path], data: st.DataObject) -> None:
    whole, key, place = bundle
    a, b, c = sorted(data.draw(st.lists(st.integers(0, len(whole)), min_size=3, max_size=3)))
    changed = whole[:a] + whole[b:c] + whole[a:b] + whole[c:]
    if changed != whole:
        assert not accepted(changed, key, place)


@FUZZ
@given(st.data())
def test_al_06_something_put_in(bundle: tuple[bytes, PublicKey, Path], data: st.DataObject) -> None:
    whole, key, place = bundle
    at = data.draw(st.integers(0, len(whole)))
    assert not accepted(whole[:at] + data.draw(st.binary(min_size=1, max_size=20)) + whole[at:], key, place)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_al_06_every_byte(bundle: tuple[bytes, PublicKey, Path]) -> None:
    whole, key, place = bundle
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        assert not accepted(bytes(changed), key, place), position
