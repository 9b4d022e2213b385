"""Airflow's configuration, as this process has it."""

from __future__ import annotations

from typing import Any


def configured(section: str, option: str) -> str | None:
    """An option of airflow.cfg or its environment variable; None where it is not set or empty."""
    try:
        from airflow.sdk.configuration import conf
    except ImportError:  # 3.1
        from airflow.configuration import conf
    value = conf.get(section, option, fallback=None)
    return str(value) if value else None


def secrets_backends() -> list[Any]:
    """The secrets backends of this process in the order Airflow asks them (cached by Airflow)."""
    from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

    return list(ensure_secrets_backend_loaded())


def server_secrets_backends() -> list[Any]:
    """Those that a server asks, `[secrets] backend` first (cached by Airflow)."""
    from airflow.configuration import ensure_secrets_loaded

    return list(ensure_secrets_loaded())
