"""Stands in for an Airflow's REST API, as far as the gateway asks it; the real one is in tests/e2e.

Paths, parameters and fields are those of Airflow 3.3's `/api/v2`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import httpx

from taskgate.domain import TaskKey
from taskgate.identity.orchestrators.airflow.account import AirflowAccount
from taskgate.identity.orchestrators.airflow.rest import AirflowRest
from taskgate.identity.orchestrators.airflow.signing_keys import SharedSecret, SigningKeys, VerifyingKey
from taskgate.identity.orchestrators.airflow.source import AirflowSource
from taskgate.identity.orchestrators.airflow.task_token import TaskTokens
from taskgate.secrets.secret import Secret
from taskgate.settings_airflow import AirflowSettings
from tests.unit.identity.orchestrators.airflow.signing import AUDIENCE, rsa_key, token

SOURCE = "prod"
KEY = rsa_key()
PASSWORD = "canary-airflow-password"
_INSTANCE = re.compile(r"/api/v2/dags/([^/]+)/dagRuns/([^/]+)/taskInstances/([^/]+)/(-?\d+)")


@dataclass
class Instance:
    task_id: str = "load"
    dag_id: str = "etl"
    run_id: str = "run 1"
    map_index: int = -1
    id: str = field(default_factory=lambda: str(uuid4()))
    state: str | None = "running"
    try_number: int = 1
    max_tries: int = 1
    padding: int = 0  # bytes that its author makes it describe itself with

    @property
    def key(self) -> TaskKey:
        return TaskKey(SOURCE, self.dag_id, self.run_id, self.task_id, self.map_index)

    def json(self) -> dict[str, Any]:
        return {
            "id": self.id, "task_id": self.task_id, "dag_id": self.dag_id, "dag_run_id": self.run_id,
            "map_index": self.map_index, "state": self.state, "try_number": self.try_number,
            "max_tries": self.max_tries, "queue": "default",
            "dag_version": {"version_number": 3, "bundle_name": "etl-bundle", "bundle_version": "c0ffee"},
            "rendered_fields": {"sql": "canary-rendered"}, "executor_config": "a" * self.padding,
        }  # fmt: skip

    def retried(self) -> None:
        self.id, self.state, self.try_number = str(uuid4()), "up_for_retry", self.try_number + 1

    def cleared(self) -> None:
        self.id, self.state, self.max_tries = str(uuid4()), None, self.try_number + 1


class Airflow:
    """Instances by where they stand. `away`: it answers nothing but this status. `forbidden`: what has this in its path
    is not shown to the gateway's account."""

    def __init__(self) -> None:
        self.instances: list[Instance] = []
        self.away: int | None = None
        self.forbidden: str | None = None
        self.lists_nothing = False
        self.signed_in = 0
        self.asked: list[str] = []
        self.token = "t1"
        self.hidden: set[TaskKey] = set()
        self.rows: dict[tuple[object, ...], dict[str, Any]] = {}

    def add(self, **given: Any) -> Instance:
        self.instances.append(Instance(**given))
        return self.instances[-1]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode().split("?")[0]
        self.asked.append(unquote(path))
        if self.away is not None:
            return httpx.Response(self.away, text="<html>away</html>")
        if path == "/auth/token":
            self.signed_in += 1
            good = json.loads(request.content) == {"username": "taskgate", "password": PASSWORD}
            return httpx.Response(201, json={"access_token": self.token}) if good else httpx.Response(401)
        if request.headers["Authorization"] != f"Bearer {self.token}":
            return httpx.Response(401)
        if self.forbidden and self.forbidden in path:
            return httpx.Response(403, json={"detail": "Forbidden"})
        if path.endswith("/hitlDetails"):
            return self._human_input(request, path.removesuffix("/hitlDetails"))
        if (match := _INSTANCE.fullmatch(path)) and self._key(match) in self.hidden:
            return httpx.Response(403, json={"detail": "Forbidden"})
        if match := _INSTANCE.fullmatch(path):
            where = (*map(unquote, match.groups()[:3]), int(match[4]))
            found = [one for one in self.instances if (one.dag_id, one.run_id, one.task_id, one.map_index) == where]
            return httpx.Response(200, json=found[0].json()) if found else httpx.Response(404, json={"detail": "no"})
        if path == "/api/v2/dags/~/dagRuns/~/taskInstances" and self.lists_nothing:
            return httpx.Response(500, text="one of them cannot be described")
        if path == "/api/v2/dags/~/dagRuns/~/taskInstances":
            states, offset = request.url.params.get_list("state"), int(request.url.params["offset"])
            listed = [one.json() for one in self.instances if one.state in states]
            page = listed[offset : offset + int(request.url.params["limit"])]
            return httpx.Response(200, json={"task_instances": page, "total_entries": len(listed)})
        if re.fullmatch(r"/api/v2/dags/[^/]+/dagRuns/[^/]+", path):
            run = {"run_type": "scheduled", "logical_date": "2024-07-01T00:00:00Z", "triggering_user_name": "bob"}
            return httpx.Response(200, json=run)
        if re.fullmatch(r"/api/v2/dags/[^/]+", path):
            return httpx.Response(200, json={"owners": ["data", "alice"], "tags": [{"name": "pii"}, {"name": "etl"}]})
        return httpx.Response(404)

    @staticmethod
    def _key(match: re.Match[str]) -> TaskKey:
        dag_id, run_id, task_id = map(unquote, match.groups()[:3])
        return TaskKey(SOURCE, dag_id, run_id, task_id, int(match[4]))

    def _human_input(self, request: httpx.Request, path: str) -> httpx.Response:
        match = _INSTANCE.fullmatch(path)
        assert match is not None
        where = (*map(unquote, match.groups()[:3]), int(match[4]))
        row = self.rows.get(where)
        if row is None:
            return httpx.Response(404, json={"detail": "no"})
        if request.method == "PATCH":
            if row["response_received"]:
                return httpx.Response(409, json={"detail": "has already been updated"})
            answer(row, json.loads(request.content)["chosen_options"], "taskgate")
        return httpx.Response(200, json=row)

    def park(self, instance: Instance, subject: str, body: str, options: Sequence[str] = ("Approve", "Deny")) -> Any:
        """What a task writes before it waits: whatever it likes."""
        row: dict[str, Any] = {
            "subject": subject, "body": body, "options": list(options), "defaults": None, "multiple": False,
            "params": {}, "assigned_users": [], "response_received": False, "responded_by_user": None,
            "chosen_options": None, "params_input": {}, "task_instance": instance.json(),
        }  # fmt: skip
        key = instance.key
        self.rows[key.dag_id, key.run_id, key.task_id, key.map_index] = row
        return row

    def source(self, *, symmetric: str | None = None, **settings: Any) -> AirflowSource:
        """The gateway's side of it."""
        given = {"public_key": "unused.pem", **settings}
        made = AirflowSettings(
            source=SOURCE, url="https://airflow.example", username="taskgate", password="env:P", **given
        )
        client = httpx.AsyncClient(transport=httpx.MockTransport(self), timeout=5)
        account = AirflowAccount(made, _password, client)
        keys: SigningKeys = _Key() if symmetric is None else SharedSecret(Secret(symmetric))
        tokens = TaskTokens(keys, audience=AUDIENCE, issuer=None)
        return AirflowSource(made, tokens, AirflowRest(SOURCE, account), account)


def answer(row: dict[str, Any], chosen: list[str], user: str | None) -> None:
    """As a person does on Airflow's page; user None: as a trigger can."""
    row.update(
        response_received=True,
        chosen_options=chosen,
        responded_by_user=None if user is None else {"id": user, "name": user.title()},
    )


class _Key:
    symmetric = False

    async def find(self, kid: str | None) -> VerifyingKey | None:
        from joserfc.jwk import RSAKey

        from tests.unit.identity.orchestrators.airflow.signing import public_pem

        return RSAKey.import_key(public_pem(KEY))


async def _password(reference: str) -> Secret:
    assert reference == "env:P"
    return Secret(PASSWORD)


def token_of(instance: Instance, **claims: Any) -> str:
    return token(KEY, sub=instance.id, **claims)
