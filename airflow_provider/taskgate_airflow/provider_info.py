"""What Airflow's own discovery reads about this provider (schema: airflow/provider_info.schema.json)."""

from __future__ import annotations

from typing import Any

from taskgate_airflow.connection_form import connection_types

_INTEGRATION = "Taskgate"
_VERSION_ADDED = "0.1.0"


def _option(description: str, *, example: str | None, default: str | None = None) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": _VERSION_ADDED,
        "type": "string",
        "example": example,
        "default": default,
    }


def get_provider_info() -> dict[str, Any]:
    """The provider's metadata. `package-name` must equal the distribution's name, or Airflow refuses it."""
    return {
        "package-name": "taskgate",
        "name": _INTEGRATION,
        "description": "Tasks reach databases through a gateway that knows the task, judges every statement, "
        "asks a human, masks and records.",
        "integrations": [{"integration-name": _INTEGRATION, "tags": ["service"]}],
        "operators": [{"integration-name": _INTEGRATION, "python-modules": ["taskgate_airflow.operators"]}],
        "sensors": [{"integration-name": _INTEGRATION, "python-modules": ["taskgate_airflow.sensors"]}],
        "hooks": [{"integration-name": _INTEGRATION, "python-modules": ["taskgate_airflow.hooks"]}],
        "triggers": [{"integration-name": _INTEGRATION, "python-modules": ["taskgate_airflow.triggers"]}],
        "connection-types": connection_types(),
        "task-decorators": [
            {"name": "governed_sql", "class-name": "taskgate_airflow.decorators.governed_sql_task"},
        ],
        "secrets-backends": [
            "taskgate_airflow.server_secrets.TaskgateServerSecretsBackend",
            "taskgate_airflow.secrets.TaskgateSecretsBackend",
        ],
        "config": {
            "taskgate": {
                "description": "How this component reaches Taskgate's control API where it is not the way the secrets "
                "backend does (`[secrets] backend_kwargs`, `[workers] secrets_backend_kwargs`).",
                "options": {
                    "url": _option("Address of the control API.", example="https://taskgate.example:8400"),
                    "api_key_file": _option(
                        "File with this component's service key. A triggerer's needs the scope approvals:watch and, in "
                        "the server form, credentials:delegate; an API server's needs credentials:exchange.",
                        example="/run/secrets/taskgate",
                    ),
                    "dashboard_url": _option(
                        "Address of the dashboard. Every task instance gets links to it, the navigation an entry.",
                        example="https://taskgate.example:8501",
                    ),
                    "source": _option(
                        "The name by which Taskgate knows this Airflow: what the links ask the dashboard for.",
                        example="prod-airflow",
                    ),
                    "enforce_policy": _option(
                        "Whether DAGs are rejected whose tasks would take a governed connection past Taskgate.",
                        example="True",
                        default="False",
                    ),
                    "governed_connections": _option(
                        "Ids of governed connections, or patterns, separated by commas: beside those in the secrets "
                        "backend's `connections`.",
                        example="orders_db, finance_*",
                    ),
                    "probe_key_file": _option(
                        "File with a service key that connection tests use, on the API server (or the workers, for "
                        "tests that Airflow enqueues there). It needs the scope credentials:issue, nothing else.",
                        example="/run/secrets/taskgate-probe",
                    ),
                    "ca_file": _option(
                        "Certificates to trust instead of the system's.", example="/etc/ssl/certs/internal.pem"
                    ),
                },
            }
        },
    }
