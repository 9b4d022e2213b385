"""Whose certificates an orchestrator's API may have."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx

from taskgate.errors import SettingsError


def trusting(source: str, ca_file: Path | None) -> ssl.SSLContext:
    """The authorities of this file, else the usual ones. Raises SettingsError."""
    if ca_file is None:
        return httpx.create_ssl_context(trust_env=False)
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"{source}: cannot read the certificates in {ca_file}: {error}",
            hint="ca_file is a file of PEM certificates that the gateway's user can read.",
        ) from None
