"""How this Airflow reaches Taskgate's control API: configuration of the process, never of a DAG."""

from __future__ import annotations

import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskgate.client import AsyncClient, Client


class NotConfigured(Exception):
    """Nothing says where Taskgate is or with which key to ask. Says what to set."""


@dataclass(frozen=True, slots=True)
class GatewayAccess:
    """Where the control API is and which file holds the service key. The key is read when a client is made, so that a
    rotated key is picked up and no object of ours keeps it."""

    url: str
    api_key_file: str
    ca_file: str | None = None
    timeout: float = 10.0

    @classmethod
    def of(cls, options: dict[str, Any]) -> GatewayAccess:
        """From the secrets backend's keyword arguments or `[taskgate]`. Raises NotConfigured."""
        missing = [name for name in ("url", "api_key_file") if not options.get(name)]
        if missing:
            raise NotConfigured(f"Taskgate is not configured: {' and '.join(missing)} missing")
        return cls(
            str(options["url"]),
            str(options["api_key_file"]),
            str(options["ca_file"]) if options.get("ca_file") else None,
            float(options.get("timeout") or 10.0),
        )

    @classmethod
    def from_airflow(cls) -> GatewayAccess:
        """`[taskgate]` of airflow.cfg, and where that is silent what the secrets backend uses. Raises NotConfigured."""
        return cls.of(_configured())

    def client(self, *, timeout: float | None = None, tries: int = 4) -> Client:
        from taskgate.client import Client

        return Client(self.url, self.key(), ca_file=self.ca_file, timeout=timeout or self.timeout, tries=tries)

    def async_client(self, *, timeout: float | None = None, tries: int = 4) -> AsyncClient:
        """`timeout`: where it is shorter than the configured one."""
        from taskgate.client import AsyncClient

        bound = min(timeout or self.timeout, self.timeout)
        return AsyncClient(self.url, self.key(), ca_file=self.ca_file, timeout=bound, tries=tries)

    def key(self) -> str:
        """The service key, read now. Raises NotConfigured."""
        try:
            key = Path(self.api_key_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise NotConfigured(f"cannot read Taskgate's API key from {self.api_key_file}") from error
        if not key:
            raise NotConfigured(f"{self.api_key_file} is empty: it must hold Taskgate's API key")
        return key


class KeptClient:
    """One client for many calls of a server, made anew when the key's file holds another key, or in a forked process.

    Thread-safe. A client that was replaced closes with its last reference: calls may still be using it."""

    def __init__(self, access: GatewayAccess, *, tries: int) -> None:
        self._access = access
        self._tries = tries
        self._lock = threading.Lock()
        self._made_with: tuple[int, str] | None = None
        self._client: Client | None = None

    def get(self) -> Client:
        """Raises NotConfigured, ConnectionSettingsError."""
        wanted = (os.getpid(), self._access.key())
        with self._lock:
            if self._client is None or self._made_with != wanted:
                self._client = self._access.client(tries=self._tries)
                self._made_with = wanted
            return self._client


def task_client(token: str, *, timeout: float = 5.0, tries: int = 2) -> Client:
    """A client of the task that this process runs, which proves itself by its own credential (`<user>.<password>`): no
    service key is needed. Raises NotConfigured where nothing says where the control API is."""
    options = _configured()
    if not options.get("url"):
        raise NotConfigured("Taskgate is not configured: url missing")
    from taskgate.client import Client

    return Client(str(options["url"]), token, ca_file=options.get("ca_file"), timeout=timeout, tries=tries)


def _configured() -> dict[str, Any]:
    from taskgate_airflow.compat import configured, secrets_backends
    from taskgate_airflow.secrets import TaskgateSecretsBackend
    from taskgate_airflow.server_secrets import TaskgateServerSecretsBackend

    options: dict[str, Any] = {}
    for backend in secrets_backends():
        if isinstance(backend, TaskgateSecretsBackend) and backend.access is not None:
            options = asdict(backend.access)
        elif isinstance(backend, TaskgateServerSecretsBackend):
            options = dict(backend.address)  # its key is the API server's
    for name in ("url", "api_key_file", "ca_file"):
        if value := configured("taskgate", name):
            options[name] = value
    return options
