"""What masking costs a byte, compiled and in Python: `python bench/masking.py [--rows 20000] [--rounds 5]`.

MB/s of DataRow messages (10 text columns, about 180 bytes a row, batches of 64 KiB) by CPU time of this process, the
median of the rounds. Compare figures of one run with each other: other machines and neighbours give others.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from taskgate.domain import MaskKind, MaskRule
from taskgate.masking.detectors import NAMES
from taskgate.masking.plan import MaskPlan
from taskgate.protocols.postgres.copy import CopyMasker
from taskgate.protocols.postgres.copy_format import CopyFormat
from taskgate.protocols.postgres.fields import Field
from taskgate.protocols.postgres.rows import ResultMasker
from taskgate.speed import COMPILED, message_runs

COLUMNS = 10
BATCH = 64 << 10
REDACT, HASH = MaskRule("redact", MaskKind.REDACT), MaskRule("hash", MaskKind.HASH)
FOUR = {name: MaskRule(name, MaskKind.REDACT) for name in ("email", "credit_card", "us_ssn", "iban")}
ALL = {name: MaskRule(name, MaskKind.REDACT) for name in NAMES}
FIELDS = [Field(b"c%d" % number, 1, number + 1, 25, -1, -1, 0) for number in range(COLUMNS)]
KEEP = (None,) * (COLUMNS - 2)


def data_row(cells: list[bytes]) -> bytes:
    body = struct.pack("!h", len(cells)) + b"".join(struct.pack("!i", len(cell)) + cell for cell in cells)
    return b"D" + struct.pack("!i", len(body) + 4) + body


def tables(rows: int) -> tuple[list[list[bytes]], list[list[bytes]]]:
    """(clean rows, rows with an e-mail address and a card number in two columns)"""
    chance = random.Random(1)
    clean = [[b"word%d lorem" % chance.randrange(10**6) for _ in range(COLUMNS)] for _ in range(rows)]
    dense = [[b"bob%d@example.com" % number, b"4111111111111111", *row[2:]] for number, row in enumerate(clean)]
    return clean, dense


def batches(messages: list[bytes]) -> list[bytes]:
    size = max(1, BATCH // len(messages[0]))
    return [b"".join(messages[at : at + size]) for at in range(0, len(messages), size)]


def measure(work: Callable[[bytes], object], blocks: list[bytes], rounds: int) -> float:
    """MB/s, median of the rounds, after one that is not counted."""
    total = sum(map(len, blocks))
    figures = []
    for number in range(rounds + 1):
        began = time.process_time()
        for block in blocks:
            work(block)
        if number:
            figures.append(total / (time.process_time() - began) / 1e6)
    return statistics.median(figures)


def figures(rows: int, rounds: int) -> dict[str, float]:
    clean, dense = tables(rows)
    clean_frames, dense_frames = (batches([data_row(row) for row in table]) for table in (clean, dense))
    copied = batches([b"\t".join(row) + b"\n" for row in clean])

    def rewriter(plan: MaskPlan) -> Callable[[bytes], object]:
        return ResultMasker(plan, FIELDS).rewriter([]).rewrite

    def copier(plan: MaskPlan) -> Callable[[bytes], object]:
        return CopyMasker(plan, COLUMNS, CopyFormat(), from_relation=True).feed

    cases = {
        "scan message headers": (lambda block: message_runs(block, 0, 1 << 26), clean_frames),
        "redact 2 of 10 columns": (rewriter(MaskPlan(True, (REDACT, REDACT, *KEEP))), clean_frames),
        "hash 2 of 10 columns": (rewriter(MaskPlan(True, (HASH, HASH, *KEEP), hash_key=b"k")), clean_frames),
        "4 detectors, clean rows": (rewriter(MaskPlan(True, detectors=FOUR)), clean_frames),
        "4 detectors, hits in 2 of 10 columns": (rewriter(MaskPlan(True, detectors=FOUR)), dense_frames),
        "all detectors, clean rows": (rewriter(MaskPlan(True, detectors=ALL)), clean_frames),
        "all detectors, hits in 2 of 10 columns": (rewriter(MaskPlan(True, detectors=ALL)), dense_frames),
        "COPY, redact 2 of 10 columns": (copier(MaskPlan(True, (REDACT, REDACT, *KEEP))), copied),
        "COPY, 4 detectors, clean rows": (copier(MaskPlan(True, detectors=FOUR)), copied),
    }
    return {name: measure(work, blocks, rounds) for name, (work, blocks) in cases.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="only this process's figures, as JSON")
    options = parser.parse_args()
    measured = figures(options.rows, options.rounds)
    if options.json:
        json.dump(measured, sys.stdout)
        return
    arguments = ["--rows", str(max(200, options.rows // 10)), "--rounds", str(options.rounds), "--json"]
    pure = json.loads(
        subprocess.run(
            [sys.executable, str(Path(__file__).resolve()), *arguments],
            env={**os.environ, "TASKGATE_PURE_PYTHON": "1"},
            capture_output=True,
            check=True,
        ).stdout
    )
    print(f"{'MB/s':40} {'compiled' if COMPILED else '(Python)':>9} {'Python':>8} {'ratio':>7}")
    for name, value in measured.items():
        print(f"{name:40} {value:9.0f} {pure[name]:8.1f} {value / pure[name]:7.1f}")


if __name__ == "__main__":
    main()
