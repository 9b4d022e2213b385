"""Which form is active here: who asks the gateway for a task's credential."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from taskgate_airflow.bypasses import configured_connections
from taskgate_airflow.doctor.finding import Finding, Level
from taskgate_airflow.options import backend_arguments, option

WORKER_BACKEND = "taskgate_airflow.secrets.TaskgateSecretsBackend"
SERVER_BACKEND = "taskgate_airflow.server_secrets.TaskgateServerSecretsBackend"


class Form(Enum):
    NONE = "none"
    WORKER = "worker"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Setup:
    """What this machine's configuration says. `connections`: the governed ids it names."""

    form: Form
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    connections: tuple[str, ...] = ()

    @classmethod
    def of_this_airflow(cls) -> Setup:
        server, worker = option("backend", "secrets"), option("secrets_backend", "workers")
        connections = tuple(configured_connections())
        if server == SERVER_BACKEND:
            return cls(Form.SERVER, backend_arguments("secrets", "backend_kwargs"), connections)
        if worker == WORKER_BACKEND:
            return cls(Form.WORKER, backend_arguments("workers", "secrets_backend_kwargs"), connections)
        if server == WORKER_BACKEND and worker is None:  # Airflow's workers use it where they have none of their own
            return cls(Form.WORKER, backend_arguments("secrets", "backend_kwargs"), connections)
        return cls(Form.NONE, connections=connections)


def form(setup: Setup) -> Iterator[Finding]:
    server, worker = option("backend", "secrets"), option("secrets_backend", "workers")
    match setup.form:
        case Form.NONE:
            yield Finding(
                "form", Level.FAIL, "none: no secrets backend of Taskgate's is configured here",
                "set [secrets] backend on the API server, or [workers] secrets_backend (docs/airflow.md)",
            )  # fmt: skip
            return
        case Form.WORKER:
            yield Finding("form", Level.OK, "worker: this Airflow vouches for its tasks with a key (asserted)")
        case Form.SERVER:
            yield Finding("form", Level.OK, "server: tasks prove themselves with Airflow's own token")
            if worker not in (None, SERVER_BACKEND):
                yield Finding(
                    "form", Level.FAIL, f"workers ask {worker} before the API server",
                    "take [workers] secrets_backend away, or make sure that it knows no governed connection",
                )  # fmt: skip
    if setup.form is Form.WORKER and server not in (None, WORKER_BACKEND):
        yield Finding(
            "form", Level.WARN, f"[secrets] backend is {server}: it can hand out what is governed",
            "keep no secret of a governed connection there",
        )  # fmt: skip
    needed = {"url", "source", *(("api_key_file", "connections") if setup.form is Form.WORKER else ())}
    if missing := sorted(name for name in needed if not setup.arguments.get(name)):
        yield Finding(
            "arguments", Level.FAIL, f"{', '.join(missing)} missing: every governed connection is denied",
            "correct the secrets backend's arguments: they are one JSON object",
        )  # fmt: skip
    else:
        named = ", ".join(setup.connections) or "none by name; those of type governed_… are stored in Airflow"
        yield Finding("arguments", Level.OK, f"source {setup.arguments['source']}; connections: {named}")
