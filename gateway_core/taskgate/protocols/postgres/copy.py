"""COPY TO STDOUT on its way to the client, in text and CSV: masked by column and searched by the detectors.

Rows are taken from the stream as they complete, wherever CopyData messages cut it. Types are unknown here; whatever is
masked becomes text or NULL. Binary COPY cannot be masked: the caller refuses it where anything would have to be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from taskgate.errors import MaskingFault, TargetFault
from taskgate.protocols.postgres.copy_format import Cell, CopyFormat, RowEnds
from taskgate.speed import JSON, OPAQUE, TEXT, views

if TYPE_CHECKING:
    from taskgate.domain import MaskRule
    from taskgate.masking.plan import MaskPlan
    from taskgate.masking.scanner import Scanner

MOST_ROW_BYTES = 64 << 20
_END_MARKER = b"\\."
_HEX = re.compile(rb"\\x(?:[0-9a-fA-F]{2})*")
_DOCUMENT = re.compile(rb"\s*(?:\{.*\}|\[.*\])\s*", re.DOTALL)
_PLAIN = (0, 0)  # stands for an origin that no mask names


class CopyMasker:
    """Masks one COPY TO STDOUT of `columns` columns (the number in CopyOutResponse).

    `from_relation`: every output is a plain column (`COPY relation TO`, not `COPY (query) TO`), so that a mask may show
    part of it. `names`: the columns' names where they are known. `counts`: masked cells by mask or detector.

    Raises MaskingFault where the plan does not fit, or does not know the columns although some are masked."""

    def __init__(
        self,
        plan: MaskPlan,
        columns: int,
        layout: CopyFormat,
        *,
        from_relation: bool = False,
        names: Sequence[str] = (),
        most_row_bytes: int = MOST_ROW_BYTES,
    ) -> None:
        if plan.positions is None and plan.whole is None and plan.origins:
            raise MaskingFault("the columns of this COPY are not known, so that none of them can be masked")
        known = list(names) if len(names) == columns else [""] * columns
        self._plan = plan
        self._rules = plan.column_rules([(name, _PLAIN if from_relation else None) for name in known])
        self._spared = plan.spared_columns([None] * columns)
        self._masked_columns = [(index, rule) for index, rule in enumerate(self._rules) if rule is not None]
        self._masks = bool(self._masked_columns)
        scanner = plan.scanner
        self._scanner = scanner if scanner is not None and scanner.searches else None
        self.identity = not self._masks and self._scanner is None
        self._layout = layout
        self._actions = {rule: self._action(rule) for rule in self._rules if rule is not None}
        self._ends = RowEnds(layout)
        self._most = most_row_bytes
        self._buffer = bytearray()
        self._looked_at = 0
        self._allowance = self._scanner.allowance() if self._scanner else None
        self._header = layout.header
        self.counts: dict[str, int] = {}

    def feed(self, chunk: bytes | memoryview) -> list[bytes]:
        """The rows that end in this piece of the stream, masked, each for itself: clients take a CopyData message for a
        row, as PostgreSQL sends them. What does not end yet is kept.

        Raises TargetFault on a row with another number of columns, MaskingFault on one that is too long."""
        self._allowance = self._scanner.allowance() if self._scanner else None
        self._buffer += chunk
        ends, self._looked_at = self._ends.find(self._buffer, self._looked_at)
        if len(self._buffer) - (ends[-1] if ends else 0) > self._most:
            raise MaskingFault(f"a row of more than {self._most} bytes cannot be masked")
        if not ends:
            return []
        block = bytes(self._buffer[: ends[-1]])
        del self._buffer[: ends[-1]]
        self._looked_at -= ends[-1]
        if not self._masks and self._layout.searchable_raw and not self._header and not self._suspicious(block):
            return [block] if len(ends) == 1 else [block[begin:end] for begin, end in pairwise([0, *ends])]
        return [self._row(block[begin : end - 1]) for begin, end in pairwise([0, *ends])]

    def finish(self) -> None:
        """At CopyDone. Raises TargetFault where the stream ends inside a row."""
        if self._buffer:
            raise TargetFault("the target ended COPY inside a row")

    def _row(self, row: bytes) -> bytes:
        if self._header:
            self._header = False
            return row + b"\n"
        if row == _END_MARKER:
            return row + b"\n"
        if (
            self._scanner is None
            and (raws := self._layout.raw_cells(row)) is not None
            and len(raws) == len(self._rules)
        ):
            null, read = self._layout.null, self._layout.read
            for index, mask in self._masked_columns:
                if raws[index] != null:
                    raws[index] = self._masked(read(raws[index]), mask)
            return self._layout.delimiter.join(raws) + b"\n"
        cells = self._layout.cells(row) if row or self._rules else []  # a relation may have no columns
        if len(cells) != len(self._rules):
            raise TargetFault(f"the target sent a COPY row of {len(cells)} columns instead of {len(self._rules)}")
        if self._scanner is not None:
            values = [cell.value for cell, spared in zip(cells, self._spared, strict=True) if cell.value and not spared]
            searched = self._suspicious(b"\0".join(values))
        else:
            searched = False
        if not self._masks and not searched:
            return row + b"\n"
        written = []
        for cell, rule, spared in zip(cells, self._rules, self._spared, strict=True):
            if cell.value is None:
                written.append(cell.raw)
            elif rule is not None:
                written.append(self._masked(cell.value, rule))
            elif searched and not spared and self._scanner is not None:
                written.append(self._searched(self._scanner, cell, cell.value))
            else:
                written.append(cell.raw)
        return self._layout.delimiter.join(written) + b"\n"

    def _action(self, rule: MaskRule) -> bytes | Callable[[bytes], bytes | None]:
        """What a masked value is written as, or the function that masks it."""
        action = self._plan.action(rule)
        if callable(action):
            return action
        return self._layout.written(None if action is True else action)

    def _masked(self, value: bytes, rule: MaskRule) -> bytes:
        self._count(rule)
        action = self._actions[rule]
        return action if isinstance(action, bytes) else self._layout.written(action(value))

    def _searched(self, scanner: Scanner, cell: Cell, value: bytes) -> bytes:
        if _HEX.fullmatch(value):
            replaced, rules = scanner.replace(value, OPAQUE, carries=False, allowance=self._allowance)
        else:
            kind = JSON if _DOCUMENT.fullmatch(value) else TEXT
            replaced, rules = scanner.replace(value, kind, allowance=self._allowance)
            if replaced is None and kind == JSON:  # brackets, but no JSON
                replaced, rules = scanner.replace(value, allowance=self._allowance)
        if not rules:
            return cell.raw
        for rule in rules:
            self._count(rule)
        return self._layout.written(replaced)

    def _suspicious(self, text: bytes) -> bool:
        scanner = self._scanner
        return scanner is not None and any(scanner.hits(view) for view, _ in views(text, OPAQUE))

    def _count(self, rule: MaskRule) -> None:
        self.counts[rule.id] = self.counts.get(rule.id, 0) + 1
