"""Where a target's credential comes from: the gateway holds references (`env:NAME`, `file:/path`), never values."""

from taskgate.secrets.secret import Secret
from taskgate.secrets.source import SecretFault, SecretSource
from taskgate.secrets.sources import SecretSources

__all__ = ["Secret", "SecretFault", "SecretSource", "SecretSources"]
