"""What one gateway process leaves in the store for another: whoever reads the store cannot read it.

Each process has a key pair of its own for as long as it lives; the public half stands in `processes`. A message is
sealed to it with an ephemeral X25519 key, HKDF-SHA-256 and AES-256-GCM. That hides and protects the content; it does
not say who sealed it: whoever may write to the store may write to every process.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_KEY_BYTES = 32
_NONCE = bytes(12)  # each message has a key of its own


class PeerBox:
    """The private half. `public`: 32 bytes."""

    def __init__(self) -> None:
        self._key = X25519PrivateKey.generate()
        self.public = self._key.public_key().public_bytes_raw()

    def open(self, sealed: bytes) -> bytes | None:
        """None for what was not sealed to this box, or has been changed."""
        ephemeral = sealed[:_KEY_BYTES]
        try:
            shared = self._key.exchange(X25519PublicKey.from_public_bytes(ephemeral))
            return _cipher(shared, ephemeral, self.public).decrypt(_NONCE, sealed[_KEY_BYTES:], None)
        except (InvalidTag, ValueError):
            return None


def seal(public: bytes, plain: bytes) -> bytes:
    """The ephemeral public key, then ciphertext and tag."""
    key = X25519PrivateKey.generate()
    ephemeral = key.public_key().public_bytes_raw()
    shared = key.exchange(X25519PublicKey.from_public_bytes(public))
    return ephemeral + _cipher(shared, ephemeral, public).encrypt(_NONCE, plain, None)


def _cipher(shared: bytes, ephemeral: bytes, public: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, salt=None, info=b"taskgate peer box" + ephemeral + public).derive(shared))
