"""Where an Airflow will be, before it is there: the gateway that is to know it starts first."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskgate.demo.airflow_keys import Algorithm, SigningKeys
from taskgate.demo.postgres_server import free_port

GATEWAY_USER = "taskgate"


@dataclass(frozen=True, slots=True)
class AirflowPlace:
    """Its port, the keys it signs with, its users' roles (of the simple auth manager) and passwords (also in
    `password_file`, as it reads them). `GATEWAY_USER` is the gateway's own account."""

    directory: Path
    port: int
    keys: SigningKeys
    users: Mapping[str, str]
    passwords: Mapping[str, str]
    password_file: Path

    @classmethod
    def at(cls, directory: Path, users: Mapping[str, str], algorithm: Algorithm = "RS256") -> AirflowPlace:
        directory.mkdir(parents=True, exist_ok=True)
        passwords = {user: secrets.token_urlsafe(12) for user in users}
        password_file = directory / "passwords.json"
        _write(password_file, json.dumps(passwords))
        _write(directory / "gateway-password", passwords[GATEWAY_USER])
        keys = SigningKeys.generate(directory / "keys", algorithm)
        return cls(directory, free_port(), keys, dict(users), passwords, password_file)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def known_as(self, source: str) -> dict[str, Any]:
        """An entry of the gateway's setting `airflow`."""
        return {
            "source": source,
            "url": self.url,
            "username": GATEWAY_USER,
            "password": f"file:{self.directory / 'gateway-password'}",
            "jwks": str(self.keys.jwks),
            "audience": self.keys.task_audience,
            "issuer": self.keys.issuer,
            "check_interval": "2s",
        }


def _write(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)
