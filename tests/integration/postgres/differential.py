"""What a step of a script shows its caller: its value, or its error with everything the driver knows of it.

Where in PostgreSQL's sources an error was raised is left out: a syntax error is the gateway's finding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import psycopg2


def observed(step: Callable[[], Any]) -> Any:
    try:
        return step()
    except psycopg.Error as error:
        diagnosis = error.diag
        return type(error).__name__, [
            getattr(diagnosis, name)
            for name in dir(diagnosis)
            if not name.startswith(("_", "source_")) and name != "encoding"
        ]
    except psycopg2.Error as error:
        return type(error).__name__, error.pgcode, str(error)
    except Exception as error:  # noqa: BLE001  whatever a driver raises is an observation
        return type(error).__name__, str(error).splitlines()[:1]
