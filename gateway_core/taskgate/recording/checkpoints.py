"""Signed checkpoints: what makes an omitted, shortened or rewritten session show.

One line each in `<data_dir>/checkpoints/checkpoints.jsonl`, shared by all processes on that folder (a file lock orders
them), numbered 1, 2, 3, … for the gateway as a whole:

    {"body": {…}, "key": "<id of the signing key>", "signature": "<Ed25519 over the body's bytes, hex>"}

The body holds `sequence`, `previous` (SHA-256 of the line before), `time`, `process`, `sessions` (every session of that
process whose chain has grown: id, last seq, head hash, open or closed), `processes` (all that have a journal here, with
the number of the last checkpoint each wrote), `recovered` and `erased`. A line is compact JSON, byte for byte.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from time import time_ns
from typing import Protocol, Self

import orjson

from taskgate.errors import JournalFault
from taskgate.recording.header import NO_PREVIOUS
from taskgate.recording.keys import PublicKey, SigningKey, sync_folder

FILE = "checkpoints.jsonl"


@dataclass(frozen=True, slots=True)
class SessionHead:
    """How far a session's chain had come. `state`: `open` or `closed`."""

    session: str
    seq: int
    head: str
    state: str


@dataclass(frozen=True, slots=True)
class Shortened:
    """A session of which fewer records were left than checkpoints had signed for."""

    session: str
    records: int
    signed: int


@dataclass(frozen=True, slots=True)
class Recovered:
    """A dead process's journal that was taken over; `lost_bytes` were a record it had not finished writing, `sessions`
    says how many are signed for. Nothing is signed for the ones in `short`."""

    process: str
    sessions: int
    lost_bytes: int
    short: tuple[Shortened, ...] = ()

    @classmethod
    def parse(cls, fields: object) -> Self:
        """Raises TypeError."""
        if not isinstance(fields, dict):
            raise TypeError("not an object")
        return cls(**fields | {"short": tuple(Shortened(**one) for one in fields.get("short", ()))})


@dataclass(frozen=True, slots=True)
class Body:
    sequence: int
    previous: str
    time: int
    process: str
    sessions: tuple[SessionHead, ...]
    processes: Mapping[str, int] = field(default_factory=dict)
    recovered: tuple[Recovered, ...] = ()
    erased: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    body: Body
    key: str
    signature: str
    signed: bytes  # the body's bytes
    line: bytes

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """`line` without its newline. Raises ValueError unless it is exactly what a gateway would have written."""
        fields = orjson.loads(line)
        if (
            not isinstance(fields, dict)
            or tuple(fields) != ("body", "key", "signature")
            or orjson.dumps(fields) != line
        ):
            raise ValueError("not a checkpoint")
        raw = fields["body"]
        try:
            body = Body(
                **raw
                | {
                    "sessions": tuple(SessionHead(**head) for head in raw["sessions"]),
                    "recovered": tuple(Recovered.parse(one) for one in raw["recovered"]),
                    "erased": tuple(raw["erased"]),
                }
            )
        except (TypeError, KeyError):
            raise ValueError("not a checkpoint") from None
        if not _well_typed(body):
            raise ValueError("not a checkpoint")
        return cls(body, str(fields["key"]), str(fields["signature"]), orjson.dumps(raw), line)

    @property
    def hash(self) -> str:
        return sha256(self.line).hexdigest()

    def signed_by(self, keys: Sequence[PublicKey]) -> bool:
        return any(key.id == self.key and key.verifies(self.signed, self.signature) for key in keys)


def _well_typed(body: Body) -> bool:
    """What is compared and sorted; signed or not, since who signs may be hostile."""
    numbers = (body.sequence, body.time, *(head.seq for head in body.sessions))
    texts = [text for head in body.sessions for text in (head.session, head.head, head.state)]
    return (
        all(type(one) is int for one in numbers)
        and body.sequence > 0
        and all(type(one) is str for one in (body.previous, body.process, *texts, *body.erased))
    )


class CheckpointSink(Protocol):
    """Somewhere outside that checkpoints are pushed to, so that whoever owns this machine cannot take them back."""

    def push(self, line: bytes) -> None:
        """Called from a thread, in order. Raising means: try this one again later."""


class CheckpointLog:
    """The file. Every method blocks: call it from a thread."""

    def __init__(self, data_dir: Path, process_id: str, key: SigningKey) -> None:
        self.path = data_dir / "checkpoints" / FILE
        self._process_id = process_id
        self._key = key
        self._last = (0, 0, NO_PREVIOUS)  # file size, sequence and line hash we last saw
        self._processes: dict[str, int] = {}
        self._journals = data_dir / "journal"
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)

    def append(
        self,
        sessions: Sequence[SessionHead],
        *,
        recovered: Sequence[Recovered] = (),
        erased: Sequence[str] = (),
    ) -> Checkpoint:
        """Sign and make durable. Raises JournalFault, with the file as it was."""
        try:
            with self._locked() as descriptor:
                self._catch_up(descriptor)
                size, sequence, previous = self._last
                body = Body(
                    sequence=sequence + 1,
                    previous=previous,
                    time=time_ns(),
                    process=self._process_id,
                    sessions=tuple(sessions),
                    processes=self._known_processes(sequence + 1),
                    recovered=tuple(recovered),
                    erased=tuple(erased),
                )
                checkpoint = self._signed(body)
                _append(descriptor, size, checkpoint.line + b"\n")
                if not size:
                    sync_folder(self.path.parent)
                self._saw(checkpoint, size + len(checkpoint.line) + 1)
                return checkpoint
        except OSError as error:
            raise JournalFault(f"taskgate: a checkpoint cannot be written: {error.strerror or error}") from error

    def _signed(self, body: Body) -> Checkpoint:
        raw = orjson.dumps(body)
        signature = self._key.sign(raw)
        line = b'{"body":' + raw + b',"key":"%b","signature":"%b"}' % (self._key.public.id.encode(), signature.encode())
        return Checkpoint(body, self._key.public.id, signature, raw, line)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)  # gives the lock back

    def _catch_up(self, descriptor: int) -> None:
        """Read what other processes have appended; cut off a line that was never finished."""
        if os.fstat(descriptor).st_size < self._last[0]:
            raise JournalFault(f"taskgate: {self.path} has become shorter: checkpoints were taken away")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            position = file.seek(self._last[0])
            for line in file:
                if not line.endswith(b"\n"):
                    break
                position += len(line)
                try:
                    self._saw(Checkpoint.parse(line[:-1]), position)
                except ValueError:
                    raise JournalFault(f"taskgate: {self.path} holds a line that is not a checkpoint") from None
        if os.fstat(descriptor).st_size > position:
            os.ftruncate(descriptor, position)

    def _saw(self, checkpoint: Checkpoint, size: int) -> None:
        self._last = (size, checkpoint.body.sequence, checkpoint.hash)
        self._processes[checkpoint.body.process] = checkpoint.body.sequence

    def _known_processes(self, sequence: int) -> dict[str, int]:
        here = sorted(path.name for path in self._journals.iterdir()) if self._journals.is_dir() else []
        return {name: self._processes.get(name, 0) for name in here} | {self._process_id: sequence}


def _append(descriptor: int, size: int, data: bytes) -> None:
    rest = memoryview(data)
    try:
        os.lseek(descriptor, size, os.SEEK_SET)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except BaseException:
        os.ftruncate(descriptor, size)
        raise


def read_checkpoints(path: Path) -> Iterator[bytes]:
    """The lines of a checkpoint file, without newlines; a last line without one was never finished and is left out."""
    try:
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield line[:-1]
    except FileNotFoundError:
        return


def wait_for_append(path: Path) -> None:
    """Return once a checkpoint that is being appended, if one is, is in the file: its time was taken with the lock."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
