"""Where an Airflow will be, before it is there: the gateway that is to know it starts first."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from taskgate.demo.postgres_server import free_port
from tests.e2e.airflow_keys import SigningKeys

# Roles of the simple auth manager: a viewer reads all about DAGs; it takes a user to answer a question for humans.
USERS: Mapping[str, str] = {"admin": "admin", "alice": "user", "bob": "user", "taskgate": "user", "viewer": "viewer"}


@dataclass(frozen=True, slots=True)
class AirflowPlace:
    """Its port, the keys it signs with, its users' passwords (also in `password_file`, as it reads them)."""

    port: int
    keys: SigningKeys
    passwords: Mapping[str, str]
    password_file: Path

    @classmethod
    def at(cls, directory: Path) -> AirflowPlace:
        directory.mkdir(parents=True, exist_ok=True)
        passwords = {user: secrets.token_urlsafe(12) for user in USERS}
        password_file = directory / "passwords.json"
        password_file.touch(mode=0o600)
        password_file.write_text(json.dumps(passwords))
        return cls(free_port(), SigningKeys.generate(directory / "keys"), passwords, password_file)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"
