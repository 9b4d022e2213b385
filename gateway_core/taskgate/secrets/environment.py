"""Secrets from the gateway's own environment: `env:ORDERS_DB_PASSWORD`."""

from __future__ import annotations

import os

from taskgate.secrets.secret import Secret
from taskgate.secrets.source import SecretFault


class EnvironmentSource:
    async def fetch(self, name: str) -> Secret:
        value = os.environ.get(name)
        if not value:
            raise SecretFault(f"The environment variable {name} is not set.")
        return Secret(value)
