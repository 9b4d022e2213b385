"""The checkpoints of some evidence, checked, and what they say of each session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from taskgate.recording.checkpoints import Checkpoint, SessionHead
from taskgate.recording.findings import Problem
from taskgate.recording.header import NO_PREVIOUS
from taskgate.recording.keys import PublicKey


@dataclass
class SignedHistory:
    """`heads[session][seq]` is (head hash, state, checkpoint number), only from checkpoints that hold."""

    heads: dict[str, dict[int, tuple[str, str, int]]] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)
    lines: dict[int, str] = field(default_factory=dict)  # number → hash
    count: int = 0
    problem: Problem | None = None

    @property
    def last(self) -> str:
        """Hash of the last one that holds."""
        return self.lines.get(self.count, NO_PREVIOUS)

    @classmethod
    def of(cls, lines: Iterable[bytes], keys: Sequence[PublicKey]) -> SignedHistory:
        """Stops believing at the first bad one."""
        history, previous = cls(), NO_PREVIOUS
        for line in lines:
            number = history.count + 1
            try:
                checkpoint = Checkpoint.parse(line)
            except ValueError:
                history._bad(number, "not a checkpoint as a gateway writes it")
                break
            body = checkpoint.body
            if body.sequence != number:
                history._bad(number, f"missing: number {body.sequence} stands in its place")
                break
            if body.previous != previous:
                history._bad(number, "does not follow the one before it (previous hash differs)")
                break
            if not any(key.id == checkpoint.key for key in keys):
                history._bad(number, f"signed by another key ({checkpoint.key})")
                break
            if not checkpoint.signed_by(keys):
                history._bad(number, "its signature is wrong")
                break
            if not all(history._take(head, number) for head in body.sessions):
                history._bad(number, "takes back what an earlier one said of a session")
                break
            history.erased.update(body.erased)
            history.lines[number] = previous = checkpoint.hash
            history.count = number
        return history

    def _take(self, head: SessionHead, number: int) -> bool:
        known = self.heads.setdefault(head.session, {})
        before = known.get(head.seq)
        if before is not None:
            return before[0] == head.head
        if known and (head.seq < max(known) or known[max(known)][1] == "closed"):
            return False
        known[head.seq] = (head.head, head.state, number)
        return True

    def _bad(self, number: int, message: str) -> None:
        self.problem = Problem(message, place=f"checkpoint {number}")
