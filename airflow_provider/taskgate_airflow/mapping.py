"""Which connection stands for which target: read once, every problem named. Knows no protocol: the target's is only
known with the credential (`rewriting/`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_OWN = frozenset({"target", "host", "port", "sslmode", "sslrootcert"})


class MappingError(ValueError):
    """The mapping cannot be used as given."""


@dataclass(frozen=True, slots=True)
class MappedConnection:
    """A connection that goes through the gateway. `host` and `port` None: where the gateway says. `sslmode`: how its
    certificate is checked, in libpq's words; `sslrootcert`: the certificates to trust. `protocol`: where something
    said which it must be."""

    target: str
    host: str | None = None
    port: int | None = None
    sslmode: str | None = None
    sslrootcert: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    protocol: str | None = None


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
    defaults = {"host": host, "port": port, "sslmode": sslmode, "sslrootcert": sslrootcert}
    return {
        str(conn_id): read_connection(
            str(conn_id), {"target": value} if isinstance(value, str) else value, defaults, allowed=_OWN | {"extra"}
        )
        for conn_id, value in connections.items()
    }


def read_connection(
    conn_id: str,
    options: Any,
    defaults: Mapping[str, Any],
    *,
    allowed: frozenset[str] = _OWN,
    protocol: str | None = None,
) -> MappedConnection:
    """One connection's options; what they leave out or leave empty is as `defaults`. Raises MappingError."""
    if not isinstance(options, Mapping) or not isinstance(options.get("target"), str) or not options["target"]:
        raise MappingError(f"connection {conn_id}: give a target's name, or a mapping with `target`")
    if unknown := set(options) - allowed:
        raise MappingError(f"connection {conn_id}: unknown {', '.join(sorted(map(str, unknown)))}")
    port = options.get("port") or defaults.get("port")
    try:
        number = int(port) if port is not None else None
    except (TypeError, ValueError):
        raise MappingError(f"connection {conn_id}: port is no number") from None
    texts = {name: options.get(name) or defaults.get(name) for name in ("host", "sslmode", "sslrootcert")}
    for name, value in texts.items():
        if value is not None and not isinstance(value, str):
            raise MappingError(f"connection {conn_id}: {name} is no text")
    extra = options.get("extra") or {}
    if not isinstance(extra, Mapping):
        raise MappingError(f"connection {conn_id}: extra is no mapping")
    return MappedConnection(
        options["target"],
        port=number,
        extra={str(name): str(value) for name, value in extra.items()},
        protocol=protocol,
        **texts,
    )
