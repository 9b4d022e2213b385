"""What every protocol's rewriting does: a credential of the gateway becomes the fields of a connection of Airflow's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from taskgate_airflow.mapping import MappedConnection

if TYPE_CHECKING:
    from taskgate.client import IssuedCredential


@dataclass(frozen=True, slots=True)
class ConnectionFields:
    """A connection as stock hooks and operators want it, before it is one of Airflow's objects (which differ between a
    worker and a server). `extra` is not yet JSON."""

    conn_type: str
    host: str
    port: int
    login: str
    password: str = field(repr=False)
    schema: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


class ConnectionRewriting(Protocol):
    """One protocol's way to reach the gateway with a stock hook. Adding one: a file here and a line in `__init__.py`.

    `protocol` is the target's, as the gateway names it; `conn_type` is Airflow's, whose stock hook will be used.
    `extras` are the only ones that a mapping may carry for it: stock hooks hand what they do not know to the driver,
    and some take addresses or keys from extras that would lead around the gateway."""

    @property
    def protocol(self) -> str: ...

    @property
    def conn_type(self) -> str: ...

    @property
    def extras(self) -> frozenset[str]: ...

    def fields(self, mapped: MappedConnection, credential: IssuedCredential) -> ConnectionFields:
        """Raises MappingError where the mapping asks for what this protocol cannot carry."""
        ...
