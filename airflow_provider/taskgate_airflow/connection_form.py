"""The connection type `governed_postgres`: a connection stored in Airflow that names a target and holds no secret.

Declarative, as Airflow reads it from the provider's metadata: nothing is imported to draw the form. Its fields are the
keys of the connection's `extra`, and the same words as in the secrets backend's `connections`.
"""

from __future__ import annotations

from typing import Any

CONNECTION_TYPE = "governed_postgres"
_SSL_MODES = ["verify-full", "verify-ca", "require", "prefer", "disable"]

FORM_FIELDS: dict[str, dict[str, Any]] = {
    "target": {
        "label": "Target",
        "description": "The target's name in Taskgate, such as orders-db.",
        "schema": {"type": "string", "minLength": 1, "pattern": r"^\S+$"},
    },
    "host": {
        "label": "Gateway host",
        "description": "Connect here instead of where the gateway says: a load balancer, a forwarded port.",
        "schema": {"type": ["string", "null"]},
    },
    "port": {
        "label": "Gateway port",
        "description": "With the host.",
        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 65535},
    },
    "sslmode": {
        "label": "TLS to the gateway",
        "description": "libpq's sslmode. With a root certificate and without this: verify-full.",
        "schema": {"type": ["string", "null"], "enum": [*_SSL_MODES, None]},
    },
    "sslrootcert": {
        "label": "Root certificate",
        "description": "File on the worker with the certificates to trust for the gateway.",
        "schema": {"type": ["string", "null"]},
    },
}


def connection_types() -> list[dict[str, Any]]:
    """For the provider's metadata. The standard fields are hidden: whatever somebody typed there would be a stored
    secret, or an address that nothing uses."""
    return [
        {
            "connection-type": CONNECTION_TYPE,
            "hook-class-name": "taskgate_airflow.hooks.GovernedPostgresHook",
            "hook-name": "PostgreSQL through Taskgate",
            "conn-fields": FORM_FIELDS,
            "ui-field-behaviour": {
                "hidden-fields": ["host", "port", "login", "password", "schema", "extra"],
                "relabeling": {},
                "placeholders": {"target": "orders-db"},
            },
        }
    ]
