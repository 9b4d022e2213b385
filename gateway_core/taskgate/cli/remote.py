"""Commands that speak to a running gateway: its address, and the key of whoever asks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taskgate.cli.exit_codes import ExitCode
from taskgate.cli.output import remark

if TYPE_CHECKING:
    from taskgate.client import Client

Url = Annotated[
    str | None,
    typer.Option("--url", help="The gateway's API. (env TASKGATE_URL, else http://127.0.0.1:8400)"),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        help="Your API key. Better in the environment than here, where other users of the machine can see it. "
        "(env TASKGATE_API_KEY, or a file's name in TASKGATE_API_KEY_FILE)",
    ),
]
CaFile = Annotated[Path | None, typer.Option("--ca-file", help="Certificates to trust. (env TASKGATE_CA_FILE)")]


def connect(url: str | None, api_key: str | None, ca_file: Path | None = None) -> Client:
    """The client; ends the command where address or key cannot be used."""
    from taskgate.client import Client, ConnectionSettings, ConnectionSettingsError

    ca = str(ca_file) if ca_file else None
    try:
        settings = ConnectionSettings.resolve(url, api_key, ca_file=ca)
        if settings.auth is None:
            raise ConnectionSettingsError("no API key: set TASKGATE_API_KEY or TASKGATE_API_KEY_FILE, or use --api-key")
        return Client(url, api_key, ca_file=ca)
    except ConnectionSettingsError as error:
        remark(f"error: {error}")
        raise typer.Exit(ExitCode.USAGE) from None
