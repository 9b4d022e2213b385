"""Records as they go to the journal."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any
from zlib import crc32


def record_header(prefix: bytes, seq: int, kind: bytes, time: int, previous: bytes, commitment: bytes) -> bytes:
    """A record's header (`recording/header.py`). `prefix` ends where the sequence number begins; `previous` and
    `commitment` are SHA-256 digests."""
    return b'%b%d,"kind":"%b","time":%d,"previous":"%b","commitment":"%b"}' % (
        prefix, seq, kind, time, previous.hex().encode(), commitment.hex().encode(),
    )  # fmt: skip


def record_frame(header: bytes, sealed: bytes) -> bytes:
    """The journal's frame of a record (`recording/framing.py`): length, CRC-32, and `R`, the header's length, the
    header, the sealed content."""
    payload = b"R%b%b%b" % (len(header).to_bytes(2, "little"), header, sealed)
    return struct.pack("<II", len(payload), crc32(payload)) + payload


def seal_record(
    prefix: bytes,
    seq: int,
    kind: bytes,
    time: int,
    previous: bytes,
    plaintext: bytes,
    sha256: Callable[[bytes], Any],
    encrypt: Callable[[bytes, bytes, None], bytes],
) -> tuple[bytes, bytes]:
    """A record's frame and the digest of its header: the header commits to `plaintext` by its SHA-256, and `encrypt`
    seals it with the sequence number as its nonce (12 bytes)."""
    header = record_header(prefix, seq, kind, time, previous, sha256(plaintext).digest())
    return record_frame(header, encrypt(seq.to_bytes(12, "big"), plaintext, None)), sha256(header).digest()
