"""The key behind approvals: one file of 32 random bytes, shared by all gateways on a store, from which the key of the
digests, the key that seals parameters and the key that names cancel requests are derived (HKDF-SHA-256, RFC 5869)."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from taskgate.errors import GatewayFault

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class ApprovalKeys:
    """Under another key no digest matches: every grant is void and sealed parameters stay sealed."""

    digest: bytes = field(repr=False)
    sealing: bytes = field(repr=False)
    cancelling: bytes = field(repr=False)

    @classmethod
    def derive(cls, master: bytes) -> ApprovalKeys:
        if len(master) != KEY_BYTES:
            raise GatewayFault(f"An approval key has {KEY_BYTES} bytes, not {len(master)}.")
        return cls(
            _derive(master, b"taskgate approval digest v1"),
            _derive(master, b"taskgate approval sealing v1"),
            _derive(master, b"taskgate cancel name v1"),
        )

    @classmethod
    def at(cls, path: Path) -> ApprovalKeys:
        """From the file, created (0600) where it does not exist. Raises GatewayFault where it is open to others."""
        try:
            _create(path)
            with path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                if mode & 0o077:
                    raise GatewayFault(f"{path} is open to others (mode {mode:04o}).", hint=f"chmod 600 {path}")
                return cls.derive(file.read(KEY_BYTES + 1))
        except OSError as error:
            raise GatewayFault(f"The approval key {path} cannot be read: {error.strerror}.") from None


def _create(path: Path) -> None:
    """Whole or not at all, whoever else creates it at the same time."""
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()


def _derive(master: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(master)
