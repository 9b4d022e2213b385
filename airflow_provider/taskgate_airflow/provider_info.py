"""What Airflow's own discovery reads about this provider (schema: airflow/provider_info.schema.json)."""

from __future__ import annotations

from typing import Any

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
                        "File with this component's service key. A triggerer's needs the scopes to see approvals and, "
                        "in the server form, to ask for deferred tasks (`credentials:delegate`).",
                        example="/run/secrets/taskgate",
                    ),
                    "ca_file": _option(
                        "Certificates to trust instead of the system's.", example="/etc/ssl/certs/internal.pem"
                    ),
                },
            }
        },
    }
