"""Checkpoints that were pushed outside, held against what some evidence says of itself.

The sink has a checkpoint later than the gateway's own file, never earlier. So whoever reads the sink first and the
file afterwards finds nothing outside that is not in the file, unless the file was rolled back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfileobj
from tempfile import SpooledTemporaryFile

from taskgate.errors import ClientFault
from taskgate.recording.checkpoints import Body, Checkpoint
from taskgate.recording.findings import Problem
from taskgate.recording.keys import PublicKey
from taskgate.recording.signed_history import SignedHistory

ALWAYS_DUE = 1 << 64  # of evidence that is still being made: a gateway's data folder
PLACE = "outside checkpoints"
_IN_MEMORY = 16 * 1024**2


@dataclass
class Newer:
    """What is known outside and not in the evidence. `heads[session][seq]` as in SignedHistory. `due`: what was signed
    while the evidence was not made yet, and so had to be in it: `first_due` is the first such checkpoint's number,
    `due[session]` the last record such a one signed for, with its number. `problem`: the first that contradicts the
    evidence, or cannot be believed."""

    count: int = 0
    heads: dict[str, dict[int, tuple[str, str, int]]] = field(default_factory=dict)
    first_due: int | None = None
    due: dict[str, tuple[int, int]] = field(default_factory=dict)
    problem: Problem | None = None

    def last(self, session_id: str) -> tuple[int, int]:
        """The last record that is signed for, and by which checkpoint; -1 where none is."""
        heads = self.heads.get(session_id)
        return (max(heads), heads[max(heads)][2]) if heads else (-1, 0)

    def _take(self, body: Body, *, due: bool) -> None:
        self.count += 1
        if due and (self.first_due is None or body.sequence < self.first_due):
            self.first_due = body.sequence
        for head in body.sessions:
            self.heads.setdefault(head.session, {}).setdefault(head.seq, (head.head, head.state, body.sequence))
            if due and head.seq > self.due.get(head.session, (-1, 0))[0]:
                self.due[head.session] = (head.seq, body.sequence)


class OutsideCheckpoints:
    """As they were when this was made, from a file or a pipe, one a line."""

    def __init__(self, path: Path) -> None:
        """Raises ClientFault where there are none: then nothing can be compared."""
        self._copy = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  closed by `close`
        try:
            with path.open("rb") as file:
                copyfileobj(file, self._copy)
        except OSError as error:
            self.close()
            reason = error.strerror or error
            raise ClientFault(f"taskgate: the checkpoints outside cannot be read: {path}: {reason}") from None
        if next(self._lines(), None) is None:
            self.close()
            raise ClientFault(f"taskgate: there are no checkpoints in {path}: nothing could be compared with it")

    def close(self) -> None:
        self._copy.close()

    def _lines(self) -> Iterator[bytes]:
        self._copy.seek(0)
        for line in self._copy:
            if line.endswith(b"\n") or _whole(line):  # the last one may just be on its way
                yield line.removesuffix(b"\n")

    def beyond(self, history: SignedHistory, keys: Sequence[PublicKey], *, made: int) -> Newer:
        """Compare with evidence that was made then (nanoseconds of the epoch, or ALWAYS_DUE)."""
        newer = Newer()
        for line in self._lines():
            try:
                checkpoint = Checkpoint.parse(line)
            except ValueError:
                newer.problem = Problem("not a checkpoint as a gateway writes it", place=PLACE)
                break
            body = checkpoint.body
            if body.sequence > history.count and history.problem is not None:
                continue  # perhaps it is there, behind what is damaged
            if message := _contradiction(checkpoint, history, keys):
                newer.problem = Problem(message, place=f"checkpoint {body.sequence}")
                break
            if body.sequence > history.count:
                newer._take(body, due=body.time < made)
        return newer


def _contradiction(checkpoint: Checkpoint, history: SignedHistory, keys: Sequence[PublicKey]) -> str | None:
    body = checkpoint.body
    if body.sequence <= history.count:
        same = history.lines[body.sequence] == checkpoint.hash
        return None if same else "differs from the one that was pushed outside"
    if not checkpoint.signed_by(keys):
        return f"was pushed outside, signed by another key ({checkpoint.key})"
    if body.sequence == history.count + 1 and body.previous != history.last:
        return "was pushed outside, and does not follow the last one here"
    return None


def _whole(line: bytes) -> bool:
    try:
        Checkpoint.parse(line)
    except ValueError:
        return False
    return True
