"""What a secret source is. A new one is a class of this shape and an entry point in the group `taskgate.secrets`, whose
name is the scheme: `vault = my_package:VaultSource` serves references such as `vault:kv/orders#password`."""

from __future__ import annotations

from typing import Protocol

from taskgate.errors import GatewayFault
from taskgate.secrets.secret import Secret


class SecretFault(GatewayFault):
    """The secret could not be had. Names the reference, never a value."""


class SecretSource(Protocol):
    """Made without arguments; configured from the environment, as its own documentation says."""

    async def fetch(self, name: str) -> Secret:
        """The secret behind `name`, the part of the reference after the scheme. Raises SecretFault. Asked again for
        every new connection to a target, so that a rotated secret is picked up; caching is the source's own affair."""
