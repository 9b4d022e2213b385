"""Which protocols have a connection type in Airflow, and how a credential becomes such a connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from taskgate_airflow.mapping import MappedConnection, MappingError
from taskgate_airflow.rewriting.postgres import PostgresRewriting
from taskgate_airflow.rewriting.rewriting import ConnectionFields, ConnectionRewriting

if TYPE_CHECKING:
    from taskgate.client import IssuedCredential

__all__ = ["REWRITINGS", "ConnectionFields", "ConnectionRewriting", "check_extras", "rewritten", "through_the_gateway"]

REWRITINGS: Mapping[str, ConnectionRewriting] = {
    rewriting.protocol: rewriting
    for rewriting in (
        PostgresRewriting(),
        # one line a protocol
    )
}


def rewritten(mapped: MappedConnection, credential: IssuedCredential) -> ConnectionFields:
    """The connection for `credential`, as its target's protocol wants it. Raises MappingError."""
    rewriting = REWRITINGS.get(credential.protocol)
    if rewriting is None:
        raise MappingError(f"target {mapped.target} speaks {credential.protocol}, which has no connection type here")
    return rewriting.fields(mapped, credential)


def check_extras(connections: Mapping[str, MappedConnection]) -> None:
    """Raises MappingError for an extra that no protocol takes. Only the credential says which protocol a target speaks:
    an extra of another protocol is refused when the connection is asked for, a misspelt one already here."""
    known = frozenset().union(*(rewriting.extras for rewriting in REWRITINGS.values()))
    for conn_id, mapped in connections.items():
        if unknown := set(mapped.extra) - known:
            raise MappingError(
                f"connection {conn_id}: extra {', '.join(sorted(unknown))} would break the driver; "
                f"known: {', '.join(sorted(known))}"
            )


def through_the_gateway(connection: Any) -> bool:
    """Whether a connection of Airflow's carries a credential of the gateway's."""
    return str(connection.login or "").startswith("tg_")
