"""Connections stored in Airflow that name a target and hold no secret: type `governed_<protocol>`, target in extra."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import structlog

from taskgate_airflow.mapping import MappedConnection, MappingError, read_connection

GOVERNED = "governed_"
_MAPPING_KEY = "taskgate:mapping:"

log = structlog.get_logger(__name__)


def mapped_by(conn_id: str, stored: Any, defaults: Mapping[str, Any]) -> MappedConnection | None:
    """What a connection of Airflow's says of its target; None for one that is not governed. `defaults` as in
    `read_connection`. Raises MappingError.

    A login or password in it is nobody's business here: it is never read, and never handed out."""
    conn_type = str(getattr(stored, "conn_type", None) or "")
    if not conn_type.startswith(GOVERNED):
        return None
    if stored.login or stored.password:
        log.warning(
            "taskgate: a governed connection holds a login or password; it is ignored: remove it", conn_id=conn_id
        )
    try:
        extra = json.loads(stored.extra or "{}")
    except ValueError:
        raise MappingError(f"connection {conn_id}: its extra is no JSON") from None
    return read_connection(conn_id, extra, defaults, protocol=conn_type.removeprefix(GOVERNED))


def mapping_key(conn_id: str) -> str:
    """The variable by which a process without a database asks what `conn_id` is mapped to. It holds no secret."""
    return _MAPPING_KEY + conn_id


def mapping_asked_for(variable: str) -> str | None:
    """The connection whose mapping `variable` asks for; None for any other variable."""
    return variable.removeprefix(_MAPPING_KEY) if variable.startswith(_MAPPING_KEY) else None


def described(mapped: MappedConnection) -> dict[str, Any]:
    """What the connection's extra says, without what it leaves open."""
    names = ("target", "host", "port", "sslmode", "sslrootcert")
    return {name: value for name in names if (value := getattr(mapped, name)) is not None}


def as_text(mapped: MappedConnection) -> str:
    """The value of that variable."""
    return json.dumps({"protocol": mapped.protocol, **described(mapped)})


def from_text(conn_id: str, text: str) -> MappedConnection:
    """What `as_text` wrote. Raises MappingError."""
    try:
        options = json.loads(text)
        protocol = options.pop("protocol")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise MappingError(f"connection {conn_id}: the answer to what it is mapped to cannot be read") from None
    return read_connection(conn_id, options, {}, protocol=protocol)
