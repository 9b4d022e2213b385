"""The key pair an Airflow signs its tasks' tokens with, and its public half in the forms that verifiers take."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from joserfc.jwk import OKPKey, RSAKey

Algorithm = Literal["RS256", "EdDSA"]


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """`private` (PEM, 0600) is for the API server and the scheduler and nobody else; `public` (PEM) and `jwks` are for
    whoever verifies. Tokens of tasks are for `task_audience`, those of people for `api_audience`."""

    private: Path
    public: Path
    jwks: Path
    algorithm: Algorithm
    kid: str
    issuer: str = "https://airflow.example"
    api_audience: str = "airflow.example/api"
    task_audience: str = "airflow.example/task"

    @classmethod
    def generate(cls, directory: Path, algorithm: Algorithm = "RS256", kid: str = "airflow-1") -> SigningKeys:
        directory.mkdir(parents=True, exist_ok=True)
        self = cls(directory / "jwt.private.pem", directory / "jwt.public.pem", directory / "jwks.json", algorithm, kid)
        key: RSAPrivateKey | Ed25519PrivateKey
        if algorithm == "RS256":
            key = generate_private_key(public_exponent=65537, key_size=2048)
        else:
            key = Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        kind: type[RSAKey | OKPKey] = RSAKey if algorithm == "RS256" else OKPKey
        jwk = kind.import_key(public).as_dict(private=False)
        self.private.touch(mode=0o600)
        self.private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.public.write_bytes(public)
        self.jwks.write_text(json.dumps({"keys": [{**jwk, "kid": kid, "alg": algorithm, "use": "sig"}]}))
        return self

    @property
    def verifying(self) -> dict[str, str]:
        """What every component gets."""
        return {
            "AIRFLOW__API_AUTH__TRUSTED_JWKS_URL": str(self.jwks),
            "AIRFLOW__API_AUTH__JWT_ALGORITHM": self.algorithm,
            "AIRFLOW__API_AUTH__JWT_ISSUER": self.issuer,
            "AIRFLOW__API_AUTH__JWT_AUDIENCE": self.api_audience,
            "AIRFLOW__EXECUTION_API__JWT_AUDIENCE": self.task_audience,
        }

    @property
    def signing(self) -> dict[str, str]:
        """What the API server and the scheduler get besides."""
        return {
            "AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH": str(self.private),
            "AIRFLOW__API_AUTH__JWT_KID": self.kid,
        }
