"""Processes that start and end on one data folder while others look for what the dead have left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from taskgate.recording.verify import verify

_STARTS = """
import asyncio, pathlib, sys
from taskgate.recording.recorder import Recorder
from tests.unit.recording.samples import session

async def main():
    for number in range(150):
        recorder = Recorder(pathlib.Path(sys.argv[1]))
        await recorder.start()
        if not number % 50:
            session(recorder, f"ses_{sys.argv[2]}_{number}")
        await recorder.stop()

asyncio.run(main())
"""


def test_nobody_is_stopped_by_the_others(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _STARTS, str(tmp_path), name],
            cwd=Path(__file__).parents[3],
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in "abcd"
    ]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert list((tmp_path / "journal").iterdir()) == []
    result = verify(tmp_path)
    assert result.ok, result.first
    assert len([one for one in result.sessions if one.sealed]) == 12
