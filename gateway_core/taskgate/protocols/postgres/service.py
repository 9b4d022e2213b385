"""What all connections of one listener share."""

from __future__ import annotations

from dataclasses import dataclass, field

from taskgate.enforcement.contracts import Gate
from taskgate.protocols.postgres.cancel import CancelKeys, Elsewhere
from taskgate.protocols.postgres.limits import Limits
from taskgate.protocols.postgres.scram import KeyCache, MockVerifiers
from taskgate.protocols.postgres.statements import Analyst
from taskgate.protocols.postgres.tls import ServerTls


@dataclass(frozen=True, slots=True)
class Service:
    gate: Gate
    limits: Limits
    tls: ServerTls | None
    analyst: Analyst
    cancels: CancelKeys
    elsewhere: Elsewhere | None = None
    keys: KeyCache = field(default_factory=KeyCache)
    mocks: MockVerifiers = field(default_factory=MockVerifiers)
