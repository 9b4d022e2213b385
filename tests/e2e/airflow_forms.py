"""How an Airflow is told of the gateway: the environment of each form of the integration."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = "demo-airflow"


@dataclass(frozen=True, slots=True)
class Form:
    """`environment` is every component's, `components` adds to one component's (`real_airflow.Name`)."""

    environment: Mapping[str, str]
    components: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def own_environment() -> dict[str, str]:
    """This process's, without what would configure an Airflow or a gateway."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "TASKGATE"))}


def with_plugin(directory: Path) -> dict[str, str]:
    """The plugin from a plugins folder, so that it does not hang on how this source tree was installed."""
    plugins = directory / "plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    (plugins / "attempt_ends.py").write_text("from taskgate_airflow.plugin import TaskgatePlugin\n")
    return {"AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins)}


def worker_form(directory: Path, *, url: str, service_key: str, connections: Mapping[str, str]) -> Form:
    """The simple form: workers and triggerer ask for credentials with the service key. `connections`: id → target."""
    directory.mkdir(parents=True, exist_ok=True)
    key_file = directory / "service-key"
    key_file.touch(mode=0o600)
    key_file.write_text(service_key)
    backend = {"url": url, "api_key_file": str(key_file), "source": SOURCE, "connections": dict(connections)}
    return Form(
        {
            **with_plugin(directory),
            "AIRFLOW__WORKERS__SECRETS_BACKEND": "taskgate_airflow.secrets.TaskgateSecretsBackend",
            "AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS": json.dumps(backend),
        }
    )


def server_form(
    directory: Path,
    *,
    url: str,
    api_server_key: str,
    triggerer_key: str,
    connections: Mapping[str, str],
    taskgate: Mapping[str, str] | None = None,
) -> Form:
    """The strong form: the API server exchanges tasks' own tokens, the triggerer has a key of its own, and nobody else
    has any. `taskgate` are more options of `[taskgate]`, for every component."""
    keys = {"api-server": api_server_key, "triggerer": triggerer_key}
    components = {}
    for name, key in keys.items():
        folder = directory / name
        folder.mkdir(parents=True, exist_ok=True)
        key_file = folder / "service-key"
        key_file.touch(mode=0o600)
        key_file.write_text(key)
        components[name] = {"AIRFLOW__TASKGATE__API_KEY_FILE": str(key_file)}
    backend = {"url": url, "source": SOURCE, "connections": dict(connections)}
    options = {"url": url, "source": SOURCE, **(taskgate or {})}
    return Form(
        {
            **with_plugin(directory),
            "AIRFLOW__SECRETS__BACKEND": "taskgate_airflow.server_secrets.TaskgateServerSecretsBackend",
            "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps(backend),
            **{f"AIRFLOW__TASKGATE__{name.upper()}": value for name, value in options.items()},
        },
        components,
    )
