"""Kill -9 of a process that records, at random moments."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from taskgate.recording.header import Record
from taskgate.recording.recorder import Recorder
from taskgate.recording.records import RecordKind
from taskgate.recording.verify import verify

SOURCES = Path(__file__).parents[3]


def killed_writer(data_dir: Path, seed: int, after: float) -> dict[str, set[int]]:
    """Start a writer, kill it `after` seconds after its first acknowledgement; returns what it acknowledged."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.recording.journal_writer", str(data_dir), str(seed)],
        stdout=subprocess.PIPE,
        cwd=SOURCES,
    )
    assert process.stdout is not None
    # Read while it writes, else the pipe fills and it stands still.
    chunks = [process.stdout.readline()]
    until = time.monotonic() + after
    while time.monotonic() < until:
        chunks.append(process.stdout.readline())
    process.kill()
    chunks.append(process.stdout.read())
    process.wait()
    process.stdout.close()
    acknowledged: dict[str, set[int]] = {}
    for line in b"".join(chunks).decode().splitlines(keepends=True):
        if line.endswith("\n"):
            session, seq = line.split()
            acknowledged.setdefault(session, set()).add(int(seq))
    return acknowledged


async def kill_and_recover(data_dir: Path, seed: int, after: float) -> int:
    acknowledged = killed_writer(data_dir, seed, after)
    recorder = Recorder(data_dir)
    await recorder.start()
    await recorder.stop()
    assert acknowledged
    for session, seqs in acknowledged.items():
        records: dict[int, Record] = {one.seq: one for one in recorder.recordings.read(session)}
        for seq in seqs:
            assert records[seq].kind is RecordKind.ACTION
            assert records[seq].content is not None
    result = verify(data_dir, public_keys=[recorder.signing_key.public])
    assert result.ok, result.first
    assert all(one.sealed for one in result.sessions)
    assert acknowledged.keys() <= {one.session for one in result.sessions}
    assert [path.name for path in (data_dir / "journal").iterdir()] == []
    return sum(map(len, acknowledged.values()))


async def test_al_06_kill_nine_loses_no_acknowledged_record(tmp_path: Path) -> None:
    choose = random.Random(6)
    total = 0
    for number in range(20):
        total += await kill_and_recover(tmp_path / str(number), number, choose.random() * 0.05)
    assert total > 1000


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_al_06_kill_nine_two_hundred_times(tmp_path: Path) -> None:
    choose = random.Random()
    for number in range(200):
        await kill_and_recover(tmp_path / str(number), choose.randrange(10**9), choose.random() * 0.3)


async def test_al_06_killed_again_and_again_on_one_data_folder(tmp_path: Path) -> None:
    """Checkpoints of all lives form one sequence."""
    for number in range(5):
        await kill_and_recover(tmp_path, number, 0.02)
    result = verify(tmp_path)
    assert result.ok
    assert result.checkpoints == 5
