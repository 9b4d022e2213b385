"""Which connection stands for which target: read once, every problem named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# PostgresHook hands every extra it does not know to libpq, and BaseSQLOperator hands all of them to the hook.
_LIBPQ_EXTRAS = frozenset(
    {
        "application_name",
        "channel_binding",
        "client_encoding",
        "connect_timeout",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "options",
        "sslmode",
        "sslrootcert",
        "tcp_user_timeout",
    }
)


class MappingError(ValueError):
    """The mapping cannot be used as given."""


@dataclass(frozen=True, slots=True)
class MappedConnection:
    """A connection that goes through the gateway. `host` and `port` None: where the gateway says."""

    target: str
    host: str | None = None
    port: int | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


def read_mapping(
    connections: Mapping[str, Any] | str | None,
    *,
    host: str | None = None,
    port: int | str | None = None,
    sslmode: str | None = None,
    sslrootcert: str | None = None,
) -> dict[str, MappedConnection]:
    """`connections` as configured: a mapping, or its JSON text (a single environment variable). The others are the
    defaults of each. Raises MappingError; an empty mapping is one."""
    if isinstance(connections, str):
        try:
            connections = json.loads(connections)
        except ValueError as error:
            raise MappingError(f"connections is no JSON: {error}") from None
    if not isinstance(connections, Mapping) or not connections:
        raise MappingError("connections missing: a mapping of connection id to target")
    shared = {"sslmode": sslmode, "sslrootcert": sslrootcert}
    defaults = {
        "host": host,
        "port": port,
        "extra": {name: value for name, value in shared.items() if value},
    }
    return {str(conn_id): _mapped(str(conn_id), value, defaults) for conn_id, value in connections.items()}


def _mapped(conn_id: str, value: Any, defaults: Mapping[str, Any]) -> MappedConnection:
    options = {"target": value} if isinstance(value, str) else value
    if not isinstance(options, Mapping) or not isinstance(options.get("target"), str) or not options["target"]:
        raise MappingError(f"connection {conn_id}: give a target's name, or a mapping with `target`")
    if unknown := set(options) - {"target", "host", "port", "extra"}:
        raise MappingError(f"connection {conn_id}: unknown {', '.join(sorted(map(str, unknown)))}")
    extra = {**defaults["extra"], **_extras(conn_id, options.get("extra") or {})}
    if "sslmode" not in extra and "sslrootcert" in extra:
        extra["sslmode"] = "verify-full"
    port = options.get("port") or defaults["port"]
    try:
        return MappedConnection(
            options["target"],
            options.get("host") or defaults["host"],
            int(port) if port is not None else None,
            extra,
        )
    except (TypeError, ValueError):
        raise MappingError(f"connection {conn_id}: port is no number") from None


def _extras(conn_id: str, extra: Any) -> dict[str, str]:
    if not isinstance(extra, Mapping):
        raise MappingError(f"connection {conn_id}: extra is no mapping")
    if unknown := {str(name) for name in extra} - _LIBPQ_EXTRAS:
        raise MappingError(
            f"connection {conn_id}: extra {', '.join(sorted(unknown))} would break the driver; "
            f"known: {', '.join(sorted(_LIBPQ_EXTRAS))}"
        )
    return {str(name): str(value) for name, value in extra.items()}
