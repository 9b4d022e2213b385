"""Everything the demo needs, started and stopped: PostgreSQL with data, the gateway, the dashboard, people's keys."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from taskgate.client import Client
from taskgate.demo import data
from taskgate.demo.example import AIRFLOW
from taskgate.demo.forms import SOURCE, Form, worker_form
from taskgate.demo.local_gateway import LocalGateway
from taskgate.demo.postgres_server import PostgresServer, embedded_bin, free_port
from taskgate.domain import PrincipalKind
from taskgate.identity.scopes import Scope

__all__ = ["CONNECTION_ID", "DAG_ID", "SOURCE", "TARGET", "Stage"]

TARGET = "orders-db"
DAG_ID = AIRFLOW.id
CONNECTION_ID = "orders_db"

_DBA = [
    Scope.APPROVALS_READ, Scope.APPROVALS_DECIDE, Scope.SESSIONS_READ, Scope.RECORDS_READ, Scope.TARGETS_READ,
    Scope.CREDENTIALS_ISSUE, Scope.POLICY_READ, Scope.POLICY_EXPLAIN,
]  # fmt: skip
_REVIEWER = [
    Scope.SESSIONS_READ, Scope.RECORDS_READ, Scope.CREDENTIALS_READ, Scope.APPROVALS_READ, Scope.TARGETS_READ,
    Scope.POLICY_READ,
]  # fmt: skip

# For those who look around with a client of their own, as dana.
_PEOPLE_POLICY = """\
version: 1
rules:
  - id: dbas-read
    match: {targets: [orders-db], principals: {kind: user, groups: [dba]}, effects: [sql.select], objects: ["public.*"]}
    verdict: allow
  - id: dbas-ask-before-they-change
    match:
      targets: [orders-db]
      principals: {kind: user, groups: [dba]}
      effects: [sql.insert, sql.update, sql.delete]
      objects: ["public.*"]
    verdict: approve
    approval: {from: ["group:dba"], hold: 10m, expires: 1h}
"""


class Stage:
    """`with Stage(directory) as stage:` starts all of it; leaving stops all of it, and only that."""

    def __init__(
        self,
        directory: Path,
        *,
        dashboard: bool = True,
        policies: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
        max_sessions: int = 80,
        form: Form | None = None,
    ) -> None:
        """`policies` are more policy files' texts, `settings` more settings of the gateway, `max_sessions` how many its
        target takes; `form` is that of the Airflow or Prefect whose tasks it knows, Airflow's worker form without."""
        self.directory = directory
        self.form = form or worker_form()
        self.keys: dict[str, str] = {}
        self._with_dashboard = dashboard
        self._policies = (_PEOPLE_POLICY, *policies)
        self._settings = {**self.form.settings, **(settings or {})}
        self._dashboard: subprocess.Popen[bytes] | None = None
        self._passwords = {role: secrets.token_urlsafe(18) for role in (data.APP_ROLE, data.CATALOG_ROLE)}
        self.dashboard_port = free_port()
        self._max_sessions = max_sessions
        self.postgres = PostgresServer(
            embedded_bin(), directory / "postgres",
            settings={
                "log_statement": "all", "log_connections": "off",
                "max_connections": str(max_sessions + 20 + self.form.connections),
            },
        )  # fmt: skip
        self.gateway: LocalGateway

    @property
    def dashboard_url(self) -> str:
        return f"http://127.0.0.1:{self.dashboard_port}"

    @property
    def canaries(self) -> list[str]:
        """Values that must not get past the gateway: every e-mail address, card and SSN of the first customers."""
        return [value for _, _, email, card, ssn, _ in data.customers(5) for value in (email, card, ssn)]

    @property
    def target_passwords(self) -> list[str]:
        return list(self._passwords.values())

    def start(self) -> Stage:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.geteuid() == 0:
            self.directory.chmod(0o711)  # the server runs as another user
        self.postgres.start()
        asyncio.run(data.fill(self.postgres, self._passwords[data.APP_ROLE], self._passwords[data.CATALOG_ROLE]))
        self._start_gateway()
        if self._with_dashboard:
            self._start_dashboard()
        return self

    def stop(self) -> None:
        if self._dashboard and self._dashboard.poll() is None:
            self._dashboard.terminate()
            try:
                self._dashboard.wait(10)
            except subprocess.TimeoutExpired:
                self._dashboard.kill()
                self._dashboard.wait()
        if hasattr(self, "gateway"):
            self.gateway.stop()
        self.postgres.stop()

    def __enter__(self) -> Stage:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def client(self, name: str) -> Client:
        """The control API with a key of the form's (`airflow` in the worker form), that of `dana` or `lee` (DBAs: one
        asks, the other decides) or of `rae` (a reviewer)."""
        return Client(self.gateway.url, self.keys[name])

    def describe(self) -> dict[str, Any]:
        """Endpoints, keys, targets and ready DSNs, for `--env`. The credentials last a day."""
        with self.client("dana") as dana:
            credential = dana.issue_credential(TARGET, ttl=86_400.0)
        return {
            "api_url": self.gateway.url,
            "dashboard_url": self.dashboard_url if self._with_dashboard else None,
            "api_keys": self.keys,
            "targets": {
                TARGET: {
                    "database": data.DATABASE,
                    "host": "127.0.0.1",
                    "port": self.gateway.postgres_port,
                    "dsn": credential.dsn.get_secret_value(),
                    "direct_dsn": self.postgres.dsn(data.DATABASE, data.APP_ROLE, self._passwords[data.APP_ROLE]),
                    "superuser_dsn": self.postgres.dsn(data.DATABASE),
                }
            },
            "config": str(self.gateway.config),
            "policy": str(self.gateway.policy_file),
            "log": str(self.gateway.log_file),
            "pid": {"gateway": self.gateway.pid},
        }

    def write_environment(self, file: Path) -> None:
        """`describe` as JSON, readable by its owner only: it holds keys."""
        file.touch(mode=0o600)
        file.chmod(0o600)
        file.write_text(json.dumps(self.describe(), indent=2) + "\n")

    def _start_gateway(self) -> None:
        policy = (self.form.example.folder / self.form.policy).read_text()
        settings: dict[str, Any] = {"policy": ["policy.yaml"], **self._settings}
        for number, text in enumerate(self._policies):
            more = self.directory / f"policy-{number}.yaml"
            more.write_text(text)
            settings["policy"] = [*settings["policy"], str(more)]
        if self._with_dashboard:
            settings["dashboard_url"] = self.dashboard_url
        self.gateway = LocalGateway(
            self.directory / "gateway",
            targets=[
                {
                    "name": TARGET, "host": "127.0.0.1", "port": self.postgres.port, "database": data.DATABASE,
                    "user": data.APP_ROLE, "catalog_user": data.CATALOG_ROLE, "tls": "disable",
                    "max_sessions": self._max_sessions,
                }
            ],
            secrets={TARGET: self._passwords[data.APP_ROLE]},
            catalog_secrets={TARGET: self._passwords[data.CATALOG_ROLE]},
            policy=policy,
            settings=settings,
        )  # fmt: skip
        for name, key in self.form.keys.items():
            self.keys[name] = self.gateway.api_key(PrincipalKind.SERVICE, key.name, key.scopes, key.groups)
        self.keys["dana"] = self.gateway.api_key(PrincipalKind.USER, "dana", _DBA, ["dba"])
        self.keys["lee"] = self.gateway.api_key(PrincipalKind.USER, "lee", _DBA, ["dba"])
        self.keys["rae"] = self.gateway.api_key(PrincipalKind.USER, "rae", _REVIEWER, ["compliance"])
        self.gateway.start()

    def _start_dashboard(self) -> None:
        command = [
            sys.executable, "-m", "taskgate_dashboard", "--url", self.gateway.url, "--port", str(self.dashboard_port),
        ]  # fmt: skip
        with (self.directory / "dashboard.log").open("wb") as log:
            self._dashboard = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline and self._dashboard.poll() is None:
            try:
                if httpx.get(f"{self.dashboard_url}/_stcore/health", timeout=2).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        end = (self.directory / "dashboard.log").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"the dashboard did not start:\n{end}")
