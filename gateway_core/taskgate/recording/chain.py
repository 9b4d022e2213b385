"""The hash chain of one session: forged when writing, checked when reading."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from taskgate.errors import JournalFault
from taskgate.recording.header import NO_PREVIOUS, Record, SessionHeader
from taskgate.recording.records import RecordKind, encode
from taskgate.speed import record_header, seal_record

MAX_PREFIX = 8192  # a whole header's length has to fit into two bytes
_QUOTED: dict[str, bytes] = {str(kind): str(kind).encode() for kind in RecordKind}


class Chain:
    """Forges headers. Strictly in order: `next_seq` and `head` (hash of the last header) move on with every one."""

    __slots__ = ("_head", "_prefix", "next_seq")

    def __init__(self, header: SessionHeader, *, next_seq: int = 0, head: str = NO_PREVIOUS) -> None:
        self.next_seq = next_seq
        self._head = bytes.fromhex(head)
        self._prefix = prefix_of(header)

    @property
    def head(self) -> str:
        return self._head.hex()

    def forge(self, kind: RecordKind | str, time: int, plaintext: bytes, prefix: bytes | None = None) -> bytes:
        """The header's bytes for salt ‖ content. `prefix`: of the session header in force when it was appended."""
        header = record_header(
            prefix or self._prefix, self.next_seq, _QUOTED[kind], time, self._head, sha256(plaintext).digest()
        )
        self._head = sha256(header).digest()
        self.next_seq += 1
        return header

    def seal(
        self, kind: RecordKind | str, time: int, plaintext: bytes, prefix: bytes, encrypt: Callable[..., bytes]
    ) -> bytes:
        """`forge`, and the journal's frame of the record: one step, since every record on an action's way takes it.
        `encrypt` is AES-GCM's under the session's key."""
        seq = self.next_seq
        frame, self._head = seal_record(prefix, seq, _QUOTED[kind], time, self._head, plaintext, sha256, encrypt)
        self.next_seq = seq + 1
        return frame


def prefix_of(header: SessionHeader) -> bytes:
    """What all headers of a session begin with, ready for the sequence number."""
    fields = {"session": header.session_id, "policy": header.policy_version, "target": header.target_digest}
    try:
        prefix = encode(fields)[:-1] + b',"seq":'
    except JournalFault:
        prefix = b""
    if not 0 < len(prefix) <= MAX_PREFIX:
        raise JournalFault("taskgate: the session's header cannot be recorded")
    return prefix


class ChainError(Exception):
    """The chain breaks at `seq`; the message says how."""

    def __init__(self, seq: int, message: str) -> None:
        super().__init__(message)
        self.seq = seq
        self.message = message


class ChainChecker:
    """Takes a session's records one after the other. Knows nothing of checkpoints."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.next_seq = 0
        self.head = NO_PREVIOUS
        self.last_kind: RecordKind | None = None
        self.contents = 0

    def check(self, record: Record) -> None:
        """Raises ChainError."""
        header, seq = record.header, self.next_seq
        if header.session != self.session_id:
            raise ChainError(seq, f"belongs to another session ({header.session})")
        if header.seq != seq:
            what = "a record is missing" if header.seq > seq else "records are repeated or out of order"
            raise ChainError(seq, f"{what}: found number {header.seq}")
        if header.previous != self.head:
            raise ChainError(seq, "does not follow the record before it (previous hash differs)")
        if seq and header.kind is RecordKind.SESSION_OPENED:
            raise ChainError(seq, "begins a session that has begun already")
        if self.last_kind is RecordKind.SESSION_CLOSED:
            raise ChainError(seq, "stands after the session's end")
        if record.raw_content is not None and record.salt is not None:
            if sha256(record.salt + record.raw_content).hexdigest() != header.commitment:
                raise ChainError(seq, "content differs from what the header commits to")
            self.contents += 1
        self.next_seq = seq + 1
        self.head = header.hash()
        self.last_kind = header.kind
