"""Options of Airflow's configuration, read without importing anything else of the provider: what runs in every process
and for every task, configured or not, has to be cheap."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

_BACKENDS = (("workers", "secrets_backend", "secrets_backend_kwargs"), ("secrets", "backend", "backend_kwargs"))


class ControlApi(NamedTuple):
    """Where the gateway's control API is; no key."""

    url: str
    ca_file: str | None


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


def backend_arguments(section: str, name: str) -> dict[str, Any]:
    """A secrets backend's keyword arguments; none where they cannot be read (Airflow then passes none either)."""
    try:
        arguments = json.loads(option(name, section) or "{}")
    except ValueError:
        return {}
    return arguments if isinstance(arguments, dict) else {}


def control_api() -> ControlApi | None:
    """`[taskgate] url`, and where that is silent what a secrets backend of ours uses; None where nothing says."""
    if url := option("url"):
        return ControlApi(url, option("ca_file"))
    for section, backend, kwargs in _BACKENDS:
        if (option(backend, section) or "").startswith("taskgate_airflow."):
            arguments = backend_arguments(section, kwargs)
            if arguments.get("url"):
                ca_file = arguments.get("ca_file")
                return ControlApi(str(arguments["url"]), str(ca_file) if ca_file else option("ca_file"))
    return None
