"""A record's header: the part that is hashed into the session's chain and is never erased.

The header is compact JSON with its keys in this order, so that anybody can check a chain with a JSON reader and
SHA-256:

    session     the session's id
    policy      version of the policy in force
    target      digest of the target's configuration
    seq         0, 1, 2, … without a gap
    kind        see records.RecordKind
    time        nanoseconds since 1970 (UTC); for people, never for order
    previous    SHA-256 of the previous header's bytes, 64 zeros in the first
    commitment  SHA-256 of salt ‖ content; the salt is 16 random bytes, so that an erased content cannot be guessed
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from typing import Any, Self

import orjson

from taskgate.errors import GatewayFault
from taskgate.recording.records import RecordKind

NO_PREVIOUS = "0" * 64
SALT_BYTES = 16
_KEYS = ("session", "policy", "target", "seq", "kind", "time", "previous", "commitment")


@dataclass(frozen=True, slots=True)
class SessionHeader:
    """What every record of a session says in its header. The policy version may move on during the session."""

    session_id: str
    policy_version: str
    target_digest: str


@dataclass(frozen=True, slots=True)
class Header:
    """A header as read back. `raw` are the bytes that the chain covers."""

    session: str
    policy: str
    target: str
    seq: int
    kind: RecordKind
    time: int
    previous: str
    commitment: str
    raw: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Raises ValueError unless `raw` is exactly what a gateway would have written."""
        fields = orjson.loads(raw)
        if not isinstance(fields, dict) or tuple(fields) != _KEYS or orjson.dumps(fields) != raw:
            raise ValueError("not a record header")
        for name in _KEYS:
            if type(fields[name]) is not (int if name in ("seq", "time") else str):
                raise ValueError(f"record header: {name} has the wrong type")
        return cls(**fields | {"kind": RecordKind(fields["kind"])}, raw=raw)

    def hash(self) -> str:
        return sha256(self.raw).hexdigest()


@dataclass(frozen=True)
class Record:
    """One record as read back. `salt` and `raw_content` are None where the content was erased or left out, and where it
    is `sealed`: there, but nobody has given the key."""

    header: Header
    salt: bytes | None = None
    raw_content: bytes | None = None
    sealed: bool = False

    @property
    def seq(self) -> int:
        return self.header.seq

    @property
    def kind(self) -> RecordKind:
        return self.header.kind

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.header.time / 1e9, tz=UTC)

    @cached_property
    def content(self) -> dict[str, Any] | None:
        """The content as a dictionary with the field names of its class in `records.py`."""
        if self.raw_content is None:
            return None
        content = orjson.loads(self.raw_content)
        if not isinstance(content, dict):
            raise GatewayFault("taskgate: a record's content is not an object")
        return content

    @classmethod
    def of_plaintext(cls, header: Header, plaintext: bytes | None) -> Record:
        """`plaintext` is salt ‖ content."""
        if plaintext is None:
            return cls(header)
        return cls(header, plaintext[:SALT_BYTES], plaintext[SALT_BYTES:])
