"""Bound parameters at rest: AES-256-GCM, tied to the approval they belong to, so that its bytes open nowhere else."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from taskgate.domain import Parameter
from taskgate.errors import GatewayFault

_NONCE_BYTES = 12
_FORM = b"\x01"


class ParameterSeal:
    """`key` is `ApprovalKeys.sealing`, 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal(self, approval_id: str, digest: str, parameters: Sequence[Parameter]) -> bytes:
        """Form byte, nonce (96 random bits), ciphertext and tag."""
        nonce = os.urandom(_NONCE_BYTES)
        values = [
            [p.type_oid, p.format, None if p.value is None else base64.b64encode(p.value).decode()] for p in parameters
        ]
        plain = json.dumps(values, separators=(",", ":")).encode()
        return _FORM + nonce + self._aead.encrypt(nonce, plain, _bound_to(approval_id, digest))

    def open(self, approval_id: str, digest: str, sealed: bytes) -> tuple[Parameter, ...]:
        """Raises GatewayFault for bytes of another approval, another key, or changed ones."""
        nonce, ciphertext = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            if sealed[:1] != _FORM:
                raise InvalidTag
            plain = self._aead.decrypt(nonce, ciphertext, _bound_to(approval_id, digest))
        except (InvalidTag, ValueError):
            raise GatewayFault(
                f"The parameters of {approval_id} cannot be opened with this approval key.",
                hint="Do all gateways on this store have the same approval key file?",
            ) from None
        return tuple(
            Parameter(type_oid, wire_format, None if value is None else base64.b64decode(value))
            for type_oid, wire_format, value in json.loads(plain)
        )


def _bound_to(approval_id: str, digest: str) -> bytes:
    return f"{approval_id} {digest}".encode()
