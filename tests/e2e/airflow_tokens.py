"""Tokens of tasks, as Airflow makes them and as an attacker would: whoever holds the private key can make any."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from taskgate.demo.airflow_keys import SigningKeys


@dataclass(frozen=True, slots=True)
class TaskTokens:
    keys: SigningKeys

    def of(self, attempt: str, **claims: Any) -> str:
        """What the instance with this uuid has while it runs: an execution token for ten minutes. `claims` differ."""
        return jwt.encode(
            self.claims(attempt, **claims),
            self.keys.private.read_text(),
            algorithm=self.keys.algorithm,
            headers={"kid": self.keys.kid},
        )

    def claims(self, attempt: str, **claims: Any) -> dict[str, Any]:
        """In the order and with the contents of Airflow's JWTGenerator. A claim that is None is left out."""
        now = int(time.time())
        made = {
            "sub": attempt, "scope": "execution", "jti": uuid.uuid4().hex, "iss": self.keys.issuer,
            "aud": self.keys.task_audience, "nbf": now, "exp": now + 600, "iat": now,
        }  # fmt: skip
        return {name: value for name, value in (made | claims).items() if value is not None}

    def forged(self, attempt: str, **headers: Any) -> str:
        """The same, signed with a key that nobody knows, under the name of the real one or with other `headers`."""
        own = generate_private_key(public_exponent=65537, key_size=2048)
        made = {"kid": self.keys.kid, **headers}
        return jwt.encode(self.claims(attempt), own, algorithm="RS256", headers=made)

    def with_the_public_key_as_secret(self, attempt: str) -> str:
        """HS512 under what everybody may read: taken by who lets the token say how it is to be verified."""
        return self._written(attempt, {"alg": "HS512", "typ": "JWT", "kid": self.keys.kid}, self.keys.public)

    def unsigned(self, attempt: str) -> str:
        return self._written(attempt, {"alg": "none", "typ": "JWT", "kid": self.keys.kid}, None)

    def _written(self, attempt: str, header: dict[str, str], secret: Path | None) -> str:
        head, body = (_base64(json.dumps(part).encode()) for part in (header, self.claims(attempt)))
        signed = f"{head}.{body}"
        mac = b"" if secret is None else hmac.digest(secret.read_bytes(), signed.encode(), hashlib.sha512)
        return f"{signed}.{_base64(mac)}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class ExecutionApi:
    """Airflow's private API as a task's supervisor uses it, with any token."""

    url: str
    timeout: float = 10

    def connection(self, conn_id: str, token: str | None, **headers: str) -> httpx.Response:
        return self._get(f"connections/{conn_id}", token, headers)

    def reason(self, conn_id: str, token: str) -> str | None:
        """What the worker's half of the secrets backend asks for the task's log: why it was refused."""
        answer = self._get(f"variables/taskgate:refusal:{conn_id}", token, {})
        return answer.json()["value"] if answer.is_success else None

    def heartbeat(self, attempt: str, token: str, hostname: str, pid: int) -> httpx.Response:
        return httpx.put(
            f"{self.url}/execution/task-instances/{attempt}/heartbeat",
            json={"hostname": hostname, "pid": pid},
            headers={"Authorization": f"Bearer {token}"},
            timeout=self.timeout,
        )

    def _get(self, path: str, token: str | None, headers: dict[str, str]) -> httpx.Response:
        own = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.get(f"{self.url}/execution/{path}", headers=own | headers, timeout=self.timeout)
