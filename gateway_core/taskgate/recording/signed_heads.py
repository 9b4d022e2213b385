"""What was signed of a session before. Whoever signs for it again, after its own process has died, may say more than
that and nothing else: a checkpoint that takes back an earlier one makes every later one unbelievable."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import orjson

from taskgate.errors import GatewayFault
from taskgate.recording.checkpoints import SessionHead


@dataclass(frozen=True, slots=True)
class SignedHeads:
    """One session's, by sequence number."""

    heads: Mapping[int, SessionHead] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """How many records were signed for."""
        return max(self.heads, default=-1) + 1

    def ended(self, seq: int, head: str | None = None) -> bool:
        """Whether record `seq` was signed for as the session's last (with this hash)."""
        signed = self.heads.get(seq)
        return signed is not None and signed.state == "closed" and head in (None, signed.head)

    def check(self, seq: int, head: str) -> None:
        """That a chain which has come to `head` with record `seq` says nothing else than was signed. For all of a
        session's records, in order. Raises GatewayFault."""
        before = self.heads.get(seq)
        if before is not None and before.head != head:
            raise GatewayFault(f"taskgate: record {seq} differs from what a checkpoint signed for")
        if seq and self.ended(seq - 1):
            raise GatewayFault(f"taskgate: record {seq} stands after the end that a checkpoint signed for")


def signed_heads(lines: Iterable[bytes], sessions: Collection[str]) -> dict[str, SignedHeads]:
    """Of these sessions, from the lines of a checkpoint file. What is no checkpoint is passed over: it is told when the
    next one is appended."""
    found: dict[str, dict[int, SessionHead]] = {session: {} for session in sessions}
    for line in lines:
        try:
            heads = [SessionHead(**one) for one in orjson.loads(line)["body"]["sessions"] if one["session"] in found]
        except (ValueError, TypeError, KeyError):
            continue
        for head in heads:
            if type(head.seq) is int:
                found[head.session][head.seq] = head
    return {session: SignedHeads(heads) for session, heads in found.items()}
