"""Records as they go to the journal, in both forms."""

from __future__ import annotations

from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from taskgate.recording.journal_reader import split_record
from taskgate.speed import plain
from tests.unit.speed.forms import both, compiled

digests = st.binary(min_size=32, max_size=32)


numbers = st.integers(0, 2**63 - 1)


@given(st.binary(max_size=80), numbers, st.sampled_from([b"action", b"result"]), numbers, digests, digests)
def test_record_header(prefix: bytes, seq: int, kind: bytes, time: int, previous: bytes, commitment: bytes) -> None:
    both("record_header", prefix, seq, kind, time, previous, commitment)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_record_frame(header: bytes, sealed: bytes) -> None:
    both("record_frame", header, sealed)


def test_a_header_too_long_for_its_frame_is_an_error_in_both() -> None:
    for module in (compiled, plain):
        with pytest.raises(OverflowError):
            module.record_frame(b"x" * 65_536, b"")


@given(st.binary(max_size=80), numbers, numbers, digests, st.binary(max_size=300))
def test_seal_record(prefix: bytes, seq: int, time: int, previous: bytes, plaintext: bytes) -> None:
    key = AESGCM(b"k" * 32)
    frame, head = both("seal_record", prefix, seq, b"action", time, previous, plaintext, sha256, key.encrypt)  # type: ignore[misc]
    header, sealed = split_record(frame[8:])
    assert head == sha256(header).digest()
    assert key.decrypt(seq.to_bytes(12, "big"), sealed, None) == plaintext
