"""COPY: what passes between the target's CopyInResponse or CopyOutResponse and its CommandComplete.

While a COPY FROM STDIN is active the target reads CopyData, CopyDone, CopyFail and Flush; a Sync there is ignored by
it, and whether it was ignored or answered would depend on when the COPY fails. So the client's messages wait from the
statement that will copy until the target says what it does, and Syncs inside the data are never sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from taskgate.domain import Facts
from taskgate.errors import TargetFault
from taskgate.protocols.postgres import backend
from taskgate.protocols.postgres.codec import message, split
from taskgate.protocols.postgres.expectations import PASS, Execution, Expected, unexpected

if TYPE_CHECKING:
    from taskgate.masking.plan import MaskPlan
    from taskgate.protocols.postgres.copy import CopyMasker
    from taskgate.protocols.postgres.copy_out import CopyOut
    from taskgate.protocols.postgres.relay import Relay


class Copying(Protocol):
    """What a statement that may copy tells about itself: an `Executed` or a `Queried`."""

    @property
    def execution(self) -> Execution | None: ...
    @property
    def plan(self) -> MaskPlan | None: ...
    @property
    def present(self) -> tuple[Facts, CopyOut | None] | None:
        """The statement whose turn it is."""


class Copies:
    """The COPY that is going on, if any. `feeding`: the entry that takes the client's data."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.feeding: Expected | None = None
        self._giving: Expected | None = None
        self._masker: CopyMasker | None = None
        self._execution: Execution | None = None

    def started(self, entry: Expected, copying: Copying, kind: int, data: bytes, start: int, stop: int) -> int:
        """CopyInResponse, CopyOutResponse or CopyDone. Raises TargetFault for anything else."""
        if kind == 0x63 and self._giving is entry and stop - start == 5:
            if self._masker is not None:
                self._masker.finish()
            return PASS
        if self._giving is not None or self.feeding is not None or kind not in (0x47, 0x48):
            raise unexpected(kind)
        overall, formats = backend.decode_copy_response(data, start, stop)
        if kind == 0x47:
            self.feeding = entry
            self._relay.copy_in_started(entry)
            return PASS
        self._giving, self._execution = entry, copying.execution
        present, plan = copying.present, copying.plan
        if plan is not None:
            if present is None or present[1] is None or (present[1].layout is None) != (overall == 1):
                raise TargetFault("the target copies in another format than the statement asked for")
            masker = present[1].masker(plan, present[0], len(formats))
            self._masker = None if masker.identity else masker
        return PASS

    def rows(self, entry: Expected, data: bytes, start: int, stop: int, count: int) -> bytes | None:
        """`count` whole CopyData messages: what to send in their place, None for themselves."""
        execution = self._execution
        if self._giving is not entry or execution is None:
            raise unexpected(0x64)
        if self._masker is None:
            execution.sent(data[start:stop], 0)
            return None
        feed, frames, changed = self._masker.feed, [], False
        for begin, end in split(data, (0x64, start, stop, 2)):
            piece = data[begin + 5 : end]
            rows = feed(piece)
            if len(rows) == 1 and rows[0] == piece:
                frames.append(data[begin:end])
            else:
                changed = True
                frames += [message(b"d", row) for row in rows]
        sent = b"".join(frames) if changed else data[start:stop]
        execution.sent(sent, 0)
        return sent if changed else None

    def completed(self) -> None:
        """CommandComplete: no COPY is going on any more."""
        if self._masker is not None and self._execution is not None:
            self._execution.masked(self._masker.counts)
        self.feeding = self._giving = self._masker = self._execution = None

    def failed(self, entry: Expected) -> None:
        """The statement that copied has failed."""
        if entry is self.feeding:
            self._relay.copy_in_failed(marker=entry.marker)
        if entry in (self.feeding, self._giving):
            self.completed()
