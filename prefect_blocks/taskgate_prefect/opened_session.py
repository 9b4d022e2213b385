"""Which session of the gateway a driver's connection is."""

from __future__ import annotations

from typing import Any


def session_id(connection: Any) -> str | None:
    """From `application_name` as the target reports it (`taskgate ses_… <the client's name>`); None where it cannot be
    told. Takes connections of psycopg and psycopg2, and what SQLAlchemy puts around asyncpg's and psycopg's."""
    driver = getattr(connection, "driver_connection", connection)
    try:
        if (info := getattr(driver, "info", None)) is not None:
            reported = info.parameter_status("application_name")
        else:
            reported = driver.get_settings().application_name
    except Exception:  # noqa: BLE001  a driver that does not tell is no reason to fail a task
        return None
    words = (reported or "").split()
    return words[1] if len(words) > 1 and words[0] == "taskgate" and words[1].startswith("ses_") else None
