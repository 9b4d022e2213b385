"""Whether something here holds a password for a governed connection: what is stored can be read, and used."""

from __future__ import annotations

import os
from collections.abc import Iterator

from taskgate_airflow.bypasses import GovernedConnections
from taskgate_airflow.compat.metadata import StoredConnection, stored_connections
from taskgate_airflow.connection_form import CONNECTION_TYPE, FORM_FIELDS
from taskgate_airflow.doctor.finding import Finding, Level
from taskgate_airflow.doctor.form import Setup

_GOVERNED_TYPE = "governed_"


def ways_around(setup: Setup) -> Iterator[Finding]:
    yield from _environment(setup)
    yield from _database(setup)


def _environment(setup: Setup) -> Iterator[Finding]:
    governed = GovernedConnections(setup.connections)
    names = sorted(name for name in os.environ if governed.in_variable(name) is not None)
    for name in names:
        yield Finding(
            "environment", Level.FAIL, f"{name} holds what is governed: any task here can read and use it",
            "take it out of this machine's environment",
        )  # fmt: skip
    if not names and setup.connections:
        yield Finding("environment", Level.OK, "no AIRFLOW_CONN_… of a governed connection")


def _database(setup: Setup) -> Iterator[Finding]:
    try:
        stored = stored_connections()
    except Exception as error:  # noqa: BLE001  a worker has no way there, and the driver's text may hold a password
        yield Finding(
            "stored connections", Level.WARN, f"Airflow's database cannot be read from here ({type(error).__name__})",
            "fine on a worker; run this where `airflow connections list` works",
        )  # fmt: skip
        return
    governed = GovernedConnections(setup.connections)
    looked_at = [one for one in stored if one.conn_id in governed or one.conn_type.startswith(_GOVERNED_TYPE)]
    found = [(one, what) for one in looked_at if (what := _secrets(one))]
    for one, what in found:
        yield Finding(
            "stored connections", Level.FAIL, f"{one.conn_id} ({one.conn_type}) is stored with {what}",
            f"delete it, or store it as {CONNECTION_TYPE} with a target alone",
        )  # fmt: skip
    if not found:
        yield Finding("stored connections", Level.OK, f"{len(looked_at)} governed ones in Airflow, none with a secret")


def _secrets(one: StoredConnection) -> str:
    """What in it is, or may be, a way around: nothing but the form's own fields is known to be harmless."""
    known = frozenset(FORM_FIELDS) if one.conn_type.startswith(_GOVERNED_TYPE) else frozenset()
    extra = "an extra that cannot be read" if one.extra is None else ", ".join(sorted(one.extra - known))
    parts = ["a login" if one.login else "", "a password" if one.password else ""]
    parts.append(f"extra: {extra}" if extra and one.extra is not None else extra)
    return ", ".join(part for part in parts if part)
