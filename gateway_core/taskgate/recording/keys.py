"""Keys: one for each session's contents, wrapped by a key-encryption key, and the key that signs checkpoints.

A session's key exists wrapped only: in the journal, then in the recording. Erasing a session's content is dropping it.
"""

from __future__ import annotations

import contextlib
import os
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from taskgate.errors import GatewayFault

KEY_BYTES = 32
NONCE_BYTES = 12


class KeyWrapper(Protocol):
    """Protects session keys. A key management service can stand behind it: `wrap` and `unwrap` are called from threads,
    except for the first `wrap` of a process; `new` gives a key with its wrapped form at once."""

    @property
    def key_id(self) -> str:
        """Names the key-encryption key, so that a rotated one can be found again."""

    def wrap(self, session_id: str, key: bytes) -> bytes: ...
    def unwrap(self, session_id: str, wrapped: bytes) -> bytes:
        """Raises GatewayFault."""


class LocalKeyWrapper:
    """AES-256-GCM under a key in a file (0600), created at first use. Bound to the session's id."""

    def __init__(self, path: Path) -> None:
        self._path = path
        key = read_or_create(path, os.urandom(KEY_BYTES))
        if len(key) != KEY_BYTES:
            raise GatewayFault(f"taskgate: {path} is not a recording key: {len(key)} bytes instead of {KEY_BYTES}")
        self._aead = AESGCM(key)
        self.key_id = "local:" + sha256(b"taskgate recording key\0" + key).hexdigest()[:16]

    def wrap(self, session_id: str, key: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, key, session_id.encode())

    def unwrap(self, session_id: str, wrapped: bytes) -> bytes:
        try:
            return self._aead.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], session_id.encode())
        except (InvalidTag, ValueError):
            raise GatewayFault(
                f"taskgate: the key of session {session_id} does not open with {self._path}",
                hint="Was the recording written under another recording key?",
            ) from None


class SigningKey:
    """Signs checkpoints and bundles (Ed25519). The public half lies beside it for whoever verifies."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = PublicKey(private.public_key())

    @classmethod
    def at(cls, path: Path) -> SigningKey:
        """Read `path` (PEM, 0600), or create it together with `path` ending in `.pub`."""
        fresh = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        try:
            private = serialization.load_pem_private_key(read_or_create(path, fresh), None)
        except ValueError:
            raise GatewayFault(f"taskgate: {path} is not a private key in PEM form") from None
        if not isinstance(private, Ed25519PrivateKey):
            raise GatewayFault(f"taskgate: {path} is not an Ed25519 key")
        key = cls(private)
        public = path.with_suffix(".pub")
        if not public.exists():
            with contextlib.suppress(FileExistsError):
                read_or_create(public, key.public.pem, mode=0o644)
        return key

    def sign(self, data: bytes) -> str:
        return self._private.sign(data).hex()


class PublicKey:
    """Checks signatures. `id` names it in checkpoints."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        self.id = sha256(key.public_bytes_raw()).hexdigest()[:16]

    @classmethod
    def parse(cls, pem: bytes) -> PublicKey:
        """Raises ValueError."""
        key = serialization.load_pem_public_key(pem)
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError("not an Ed25519 public key")  # noqa: TRY004  it is the file that is wrong
        return cls(key)

    @property
    def pem(self) -> bytes:
        return self._key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def verifies(self, data: bytes, signature: str) -> bool:
        try:
            raw = bytes.fromhex(signature)
            self._key.verify(raw, data)
        except (InvalidSignature, ValueError):
            return False
        return raw.hex() == signature


def read_or_create(path: Path, fresh: bytes, *, mode: int = 0o600) -> bytes:
    """The file's bytes; where there is none, `fresh` is put there, durable, whole or not at all, the first one
    winning."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(fresh)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    sync_folder(path.parent)
    return path.read_bytes()


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable: a new or renamed file is not, until its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
