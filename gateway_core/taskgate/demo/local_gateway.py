"""A real gateway on loopback with free ports, started as `taskgate serve`: for the demo, the tests and the benchmarks.

with LocalGateway(directory, targets=[...], policy=policy_text, secrets={"orders-db": password}) as gateway:
    key = gateway.api_key(PrincipalKind.SERVICE, "airflow", [Scope.CREDENTIALS_ISSUE])
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from taskgate.demo.postgres_server import free_port
from taskgate.domain import PrincipalKind
from taskgate.identity.api_keys import ApiKeys
from taskgate.identity.scopes import Scope
from taskgate.settings import Settings
from taskgate.store.database import Database
from taskgate.store.signals import Signals


class LocalGateway:
    """`targets` are target settings without `secret`; `secrets` holds each target's password, written to a file of its
    own (0600). `settings` overrides anything else of the settings file."""

    def __init__(
        self,
        directory: Path,
        *,
        targets: Sequence[Mapping[str, Any]],
        secrets: Mapping[str, str],
        policy: str,
        catalog_secrets: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.config = directory / "taskgate.yaml"
        self.policy_file = directory / "policy.yaml"
        self.log_file = directory / "gateway.log"
        self.api_port = free_port()
        self.postgres_port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._environment = dict(environment or {})
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.policy_file.write_text(policy)
        self._write_settings(targets, secrets, catalog_secrets or {}, settings or {})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def pid(self) -> int:
        if self.process is None:
            raise RuntimeError("the gateway is not running")
        return self.process.pid

    def start(self, timeout: float = 60.0) -> LocalGateway:
        """Start and wait until it says that it is ready. Raises RuntimeError with the end of its log."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "taskgate.cli", "serve", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "NO_COLOR": "1", **self._environment},
            )
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if httpx.get(f"{self.url}/readyz", timeout=2).status_code == httpx.codes.OK:
                    return self
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"the gateway did not become ready:\n{self.log_file.read_text(errors='replace')[-3000:]}")

    def stop(self) -> None:
        """The orderly end: SIGTERM, and SIGKILL after ten seconds."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process = None

    def kill(self) -> None:
        """The end without any order: SIGKILL."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process = None

    def __enter__(self) -> LocalGateway:
        return self if self.process else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def api_key(self, kind: PrincipalKind, name: str, scopes: Iterable[Scope], groups: Iterable[str] = ()) -> str:
        """Make a key straight in the store, as `taskgate api-key create` does; the store is migrated if need be."""
        return asyncio.run(self._create_key(kind, name, list(scopes), list(groups)))

    async def _create_key(self, kind: PrincipalKind, name: str, scopes: list[Scope], groups: list[str]) -> str:
        settings = Settings.load(self.config)
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        database = Database(settings.store_url)
        try:
            await database.migrate()
            keys = ApiKeys(database, Signals(database))
            _, secret = await keys.create(kind, name, scopes, groups, created_by="local")
            return secret
        finally:
            await database.close()

    def _write_settings(
        self,
        targets: Sequence[Mapping[str, Any]],
        secrets: Mapping[str, str],
        catalog_secrets: Mapping[str, str],
        over: Mapping[str, Any],
    ) -> None:
        described = []
        for target in targets:
            name = target["name"]
            references = {"secret": self._secret_file(f"{name}.secret", secrets[name])}
            if name in catalog_secrets:
                references["catalog_secret"] = self._secret_file(f"{name}.catalog.secret", catalog_secrets[name])
            described.append({**references, **target})
        settings: dict[str, Any] = {
            "data_dir": "data",
            "public_url": self.url,
            "policy": [self.policy_file.name],
            "targets": described,
            "api": {"port": self.api_port},
            "postgres": {"port": self.postgres_port},
        }
        for name, value in over.items():
            below = settings.get(name)
            settings[name] = {**below, **value} if isinstance(below, dict) and isinstance(value, Mapping) else value
        # JSON is YAML, and has no surprises in it.
        self.config.write_text(yaml.safe_dump(json.loads(json.dumps(settings)), sort_keys=False))

    def _secret_file(self, name: str, value: str) -> str:
        file = self.directory / name
        file.touch(mode=0o600)
        file.write_text(value)
        return f"file:{name}"
