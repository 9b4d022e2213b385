"""A gateway process reduced to its journal: records what it says, until it is killed.

    python -m tests.integration.recording.journal_writer DATA_DIR SEED

Prints `<session id> <seq>` for every action after it was written, which is when a gateway would forward it.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from taskgate.recording.recorder import Recorder
from taskgate.recording.records import RecordKind, Result
from taskgate.recording.session_recording import SessionRecording
from tests.unit.recording.samples import action, opened


def run(data_dir: Path, seed: int) -> None:
    choose = random.Random(seed)
    recorder = Recorder(data_dir, segment_bytes=choose.choice([4_000, 40_000, 4_000_000]))
    living: list[SessionRecording] = []
    number = 0
    while True:
        if len(living) < 3 or choose.random() < 0.02:
            living.append(opened(recorder, f"ses_{os.getpid()}_{number}"))
            number += 1
        acknowledged = []
        for _ in range(choose.randrange(1, 6)):
            recording = choose.choice(living)
            seq = recording.append(RecordKind.ACTION, action("select " + "x" * choose.randrange(200)))
            acknowledged.append(f"{recording.id} {seq}\n")
            recording.append(RecordKind.RESULT, Result(seq, "SELECT 1"))
        recorder.write()
        os.write(1, "".join(acknowledged).encode())
        if len(living) > 3 and choose.random() < 0.05:
            living.pop(choose.randrange(len(living))).close("client disconnected")


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]))
