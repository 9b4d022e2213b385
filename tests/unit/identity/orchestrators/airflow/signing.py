"""Keys and tokens as an Airflow makes them, and as a forger would."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt  # PyJWT, as Airflow itself uses: another library than the one under test
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

AUDIENCE = "urn:airflow.apache.org:task"
ALGORITHM = {rsa.RSAPrivateKey: "RS256", ed25519.Ed25519PrivateKey: "EdDSA", ec.EllipticCurvePrivateKey: "ES256"}


def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem


def jwks(**keys: PrivateKeyTypes) -> dict[str, Any]:
    from airflow.api_fastapi.auth.tokens import key_to_jwk_dict

    return {"keys": [key_to_jwk_dict(key, kid=kid) for kid, key in keys.items()]}  # type: ignore[arg-type]


def write_jwks(path: Path, **keys: PrivateKeyTypes) -> Path:
    path.write_text(json.dumps(jwks(**keys)))
    return path


def claims(**other: Any) -> dict[str, Any]:
    now = int(time.time())
    made = {"sub": str(uuid4()), "aud": AUDIENCE, "nbf": now, "exp": now + 600, "iat": now, "scope": "execution"}
    return {name: value for name, value in {**made, **other}.items() if value is not None}


def token(key: Any, *, kid: str | None = "k1", algorithm: str | None = None, headers: Any = None, **other: Any) -> str:
    if algorithm is None:
        algorithm = next((name for kind, name in ALGORITHM.items() if isinstance(key, kind)), "HS512")
    given = {**({"kid": kid} if kid else {}), **(headers or {})}
    return jwt.encode(claims(**other), key, algorithm=algorithm, headers=given)
