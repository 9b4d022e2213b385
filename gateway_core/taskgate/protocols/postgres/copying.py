"""COPY: what passes between the target's CopyInResponse or CopyOutResponse and its CommandComplete.

While a COPY FROM STDIN is active the target reads CopyData, CopyDone, CopyFail and Flush; a Sync there is ignored by
it, and whether it was ignored or answered would depend on when the COPY fails. So the client's messages wait from the
statement that will copy until the target says what it does, and Syncs inside the data are never sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskgate.errors import MaskingFault, TargetFault
from taskgate.protocols.postgres import backend
from taskgate.protocols.postgres.expectations import PASS, Execution, Expected, unexpected

if TYPE_CHECKING:
    from taskgate.masking.plan import MaskPlan
    from taskgate.protocols.postgres.copy import CopyMasker
    from taskgate.protocols.postgres.relay import Relay


class Copies:
    """The COPY that is going on, if any. `feeding`: the entry that takes the client's data."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.feeding: Expected | None = None
        self._giving: Expected | None = None
        self._masker: CopyMasker | None = None
        self._ended = False

    def accept(
        self,
        entry: Expected,
        execution: Execution,
        plan: MaskPlan | None,
        kind: int,
        data: bytes,
        start: int,
        stop: int,
    ) -> int:
        """CopyInResponse, CopyOutResponse, CopyData and CopyDone of the target. TargetFault for anything else."""
        if kind == 0x47:
            backend.decode_copy_response(data, start, stop)
            self.feeding = entry
            self._relay.copy_in_started(entry)
            return PASS
        if kind == 0x48 and self._giving is None:
            overall, _ = backend.decode_copy_response(data, start, stop)
            self._giving, self._ended = entry, False
            if plan is not None and plan.active:
                from taskgate.protocols.postgres.copy import CopyMasker

                if overall == 1:
                    raise MaskingFault("a masked column cannot be copied in binary")
                self._masker = CopyMasker(plan)
            return PASS
        if self._giving is not entry:
            raise unexpected(kind)
        if kind == 0x64 and not self._ended:
            return self._data(execution, data, start, stop)
        if kind == 0x63 and not self._ended:
            return self._done(execution, stop - start)
        raise unexpected(kind)

    def _data(self, execution: Execution, data: bytes, start: int, stop: int) -> int:
        if self._masker is None:
            execution.sent(data[start:stop], 1)
            return PASS
        raise TargetFault("masked COPY is not wired yet")

    def _done(self, execution: Execution, size: int) -> int:
        if size != 5:
            raise TargetFault("malformed CopyDone message")
        self._ended = True
        return PASS

    def completed(self) -> None:
        """CommandComplete: no COPY is going on any more."""
        self.feeding = self._giving = self._masker = None

    def failed(self, entry: Expected) -> None:
        """The statement that copied has failed."""
        if entry is self.feeding:
            self._relay.copy_in_failed(marker=entry.marker)
        if entry in (self.feeding, self._giving):
            self.completed()
