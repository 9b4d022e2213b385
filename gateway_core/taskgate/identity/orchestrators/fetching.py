"""How the gateway's accounts at orchestrators come by their secrets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from taskgate.secrets.secret import Secret

Fetch = Callable[[str], Awaitable[Secret]]
"""From a reference (`env:NAME`, `file:/path`, …) to the secret itself."""
