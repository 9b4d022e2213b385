"""A session's own key and what it seals: contents in the journal, blocks in the recording."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from taskgate.errors import GatewayFault
from taskgate.recording.keys import KEY_BYTES, NONCE_BYTES, KeyWrapper


@dataclass(frozen=True)
class SessionKey:
    """Journal records use their sequence number as nonce: each is sealed once. Recording blocks, which recovery may
    write again with other content, use random nonces out of a range no sequence number reaches."""

    session_id: str
    process_id: str  # whose session it is
    key_id: str
    wrapped: bytes
    key: bytes = field(repr=False)
    aead: AESGCM = field(repr=False)

    @classmethod
    def new(cls, session_id: str, process_id: str, wrapper: KeyWrapper) -> SessionKey:
        key = os.urandom(KEY_BYTES)
        return cls(session_id, process_id, wrapper.key_id, wrapper.wrap(session_id, key), key, AESGCM(key))

    @classmethod
    def unwrapped(cls, described: dict[str, Any], wrapper: KeyWrapper) -> SessionKey:
        """From what `describe` gave. Raises GatewayFault where the key-encryption key is another one, or where it is no
        such description at all."""
        session_id, process_id, key_id, wrapped = check_description(described)
        key = wrapper.unwrap(session_id, wrapped)
        return cls(session_id, process_id, key_id, wrapped, key, AESGCM(key))

    def describe(self) -> bytes:
        """JSON with the wrapped key: the payload of an `S` frame and of a recording's `K` block."""
        return orjson.dumps(
            {
                "session": self.session_id,
                "process": self.process_id,
                "key_id": self.key_id,
                "wrapped": self.wrapped.hex(),
            }
        )

    def seal_record(self, seq: int, plaintext: bytes) -> bytes:
        return self.aead.encrypt(seq.to_bytes(NONCE_BYTES, "big"), plaintext, None)

    def open_record(self, seq: int, sealed: bytes) -> bytes:
        """Raises GatewayFault."""
        try:
            return self.aead.decrypt(seq.to_bytes(NONCE_BYTES, "big"), sealed, None)
        except (InvalidTag, ValueError):
            raise GatewayFault(f"taskgate: record {seq} of session {self.session_id} is damaged") from None

    def seal_block(self, plaintext: bytes) -> bytes:
        nonce = b"\xff" + os.urandom(NONCE_BYTES - 1)  # apart from every sequence number's
        return nonce + self.aead.encrypt(nonce, plaintext, None)

    def open_block(self, sealed: bytes) -> bytes:
        """Raises GatewayFault."""
        try:
            return self.aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None)
        except (InvalidTag, ValueError):
            raise GatewayFault(f"taskgate: a block of the recording of {self.session_id} is damaged") from None


def check_description(described: dict[str, Any]) -> tuple[str, str, str, bytes]:
    """Session, process, key id and wrapped key, as `SessionKey.describe` puts them together. Raises GatewayFault."""
    try:
        session_id, process_id, key_id = (str(described[name]) for name in ("session", "process", "key_id"))
        return session_id, process_id, key_id, bytes.fromhex(described["wrapped"])
    except (KeyError, TypeError, ValueError):
        raise GatewayFault("taskgate: a session's key is not described as a gateway does it") from None
