"""Reading a recording back before it is signed for.

Who may write to the data folder but has no keys can put a recording there. A signature would make it evidence, so that
of a dead process's sessions only those are signed for that nobody else can have written: the session's own key opens
with the gateway's, every content opens with that and is what its header commits to, and the chain holds from the first
record to the end and through every head that was signed for before.
"""

from __future__ import annotations

from typing import BinaryIO

from taskgate.errors import GatewayFault
from taskgate.recording.chain import ChainChecker, ChainError
from taskgate.recording.checkpoints import SessionHead, Shortened
from taskgate.recording.keys import KeyWrapper
from taskgate.recording.recording_file import RecordingReader, progress
from taskgate.recording.records import RecordKind
from taskgate.recording.signed_heads import SignedHeads


def head_to_sign(file: BinaryIO, session_id: str, wrapper: KeyWrapper, signed: SignedHeads) -> SessionHead | Shortened:
    """Of a finished recording; `Shortened` where it is sound but ends before what was signed for. Raises GatewayFault
    with the reason for which it must not be signed for; ValueError, TypeError, KeyError for what is no recording."""
    described = progress(file).key
    if described is not None and described["session"] != session_id:
        raise GatewayFault(f"taskgate: the recording holds the key of another session than {session_id}")
    chain = ChainChecker(session_id)
    try:
        for record in RecordingReader(file, wrapper, finished=True):
            chain.check(record)
            signed.check(record.seq, chain.head)
    except ChainError as error:
        raise GatewayFault(f"taskgate: record {error.seq} {error.message}") from None
    last = chain.next_seq - 1
    if last + 1 < signed.records:
        return Shortened(session_id, last + 1, signed.records)
    if chain.last_kind is not RecordKind.SESSION_CLOSED:
        raise GatewayFault("taskgate: the recording has no end")
    if chain.contents != chain.next_seq and not signed.ended(last):
        raise GatewayFault("taskgate: the recording lacks content, and its end was never signed for")
    return SessionHead(session_id, last, chain.head, "closed")
