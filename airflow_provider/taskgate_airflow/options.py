"""Options of Airflow's configuration, read without importing anything else of the provider: what runs in every process
and for every task, configured or not, has to be cheap."""

from __future__ import annotations


def option(name: str, section: str = "taskgate") -> str | None:
    """An option of airflow.cfg or its environment variable; None where it is not set or empty."""
    try:
        from airflow.sdk.configuration import conf
    except ImportError:  # Airflow 3.1
        from airflow.configuration import conf
    value = conf.get(section, name, fallback=None)
    return str(value) if value else None


def flag(name: str, section: str = "taskgate") -> bool:
    """An option that is on or off; off where it is not set, or is neither."""
    return (option(name, section) or "").strip().lower() in ("true", "1", "t", "yes", "y", "on")
