"""What verifying evidence found."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum


class ExitCode(IntEnum):
    VERIFIED = 0
    BAD = 1
    UNREADABLE = 2  # not a bundle, not a data folder, wrong usage
    UNTRUSTED = 8  # consistent in itself, but the key that says so came with it


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the evidence cannot be believed. `session` and `seq` name the bad record; `place` the file or checkpoint."""

    message: str
    session: str | None = None
    seq: int | None = None
    place: str | None = None

    def __str__(self) -> str:
        if self.session is None:
            return f"{self.place}: {self.message}" if self.place else self.message
        record = "" if self.seq is None else f", record {self.seq}"
        place = f" ({self.place})" if self.place else ""
        return f"session {self.session}{record}: {self.message}{place}"


@dataclass(frozen=True, slots=True)
class SessionFinding:
    """`signed`: how many of the records a checkpoint covers; `checkpoint`: the last one that does. `unfinished` are the
    sequence numbers of actions whose result is not recorded: the session or its gateway ended first. `whole`: something
    signed says that these are its records; without a `problem` only untrue where what would say so is damaged itself.
    `listed`: that something is the manifest. `goes_on`: what a checkpoint known outside signed for since the evidence
    was made, beyond its last record: up to which record, and that checkpoint's number."""

    session: str
    records: int
    contents: int
    head: str
    closed: bool
    signed: int
    checkpoint: int | None
    erased: bool = False
    unfinished: tuple[int, ...] = ()
    problem: Problem | None = None
    whole: bool = True
    listed: bool = False
    goes_on: tuple[int, int] | None = None

    @property
    def intact(self) -> bool:
        return self.problem is None and self.whole

    @property
    def sealed(self) -> bool:
        """Its end is signed for."""
        return self.problem is None and self.closed and self.signed == self.records


@dataclass(frozen=True, slots=True)
class Verification:
    """`sessions` what was looked at; `absent` how many more the checkpoints name; `trusted` whether the signing key
    came from the verifier; `problems` others than the sessions' own, damaged files first; `notes` are worth knowing and
    prove nothing wrong."""

    sessions: tuple[SessionFinding, ...]
    checkpoints: int
    absent: int
    trusted: bool
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def first(self) -> Problem | None:
        """The first bad record; where all records are sound, the first other problem."""
        return next((one.problem for one in self.sessions if one.problem), next(iter(self.problems), None))

    @property
    def ok(self) -> bool:
        return self.first is None

    @property
    def exit_code(self) -> ExitCode:
        if not self.ok:
            return ExitCode.BAD
        return ExitCode.VERIFIED if self.trusted else ExitCode.UNTRUSTED
