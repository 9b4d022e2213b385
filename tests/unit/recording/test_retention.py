from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from taskgate.recording import session_recording
from taskgate.recording.checkpoints import Checkpoint, read_checkpoints
from taskgate.recording.journal import lock
from taskgate.recording.keys import PublicKey
from taskgate.recording.recorder import Recorder
from taskgate.recording.retention import RecordingRetention
from taskgate.recording.verify import verify
from tests.unit.recording.samples import opened, statement

DAY = 86_400.0


@pytest.fixture
async def recorder(tmp_path: Path) -> AsyncIterator[Recorder]:
    recorder = Recorder(tmp_path)
    yield recorder
    await recorder.stop()


async def record(recorder: Recorder, session_id: str, days_ago: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished session that began so long ago."""
    now = session_recording.time_ns()
    with monkeypatch.context() as patch:
        patch.setattr(session_recording, "time_ns", lambda: now - int(days_ago * DAY * 1e9))
        recording = opened(recorder, session_id)
        statement(recording)
        recording.close("over")
    await recorder.settle()


def contents(recorder: Recorder, session_id: str) -> list[bool]:
    return [record.content is not None for record in recorder.recordings.read(session_id)]


def verified(data_dir: Path) -> bool:
    key = PublicKey.parse((data_dir / "keys" / "checkpoint.pub").read_bytes())
    return verify(data_dir, public_keys=[key]).ok


async def test_content_goes_with_age_and_the_chain_stays(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    await record(recorder, "ses_old", 31, monkeypatch)
    await record(recorder, "ses_new", 29, monkeypatch)
    living = opened(recorder, "ses_living")
    retention = RecordingRetention(recorder, 30 * DAY, pause=0.0)
    assert await retention.apply() == 1
    assert contents(recorder, "ses_old") == [False] * 4
    assert all(contents(recorder, "ses_new"))
    signed = [Checkpoint.parse(line).body.erased for line in read_checkpoints(recorder.checkpoints.path)]
    assert signed[-1] == ("ses_old",)
    assert await retention.apply() == 0  # once
    living.close("over")
    await recorder.settle()
    assert verified(recorder.data_dir)


async def test_recordings_of_an_earlier_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = Recorder(tmp_path)
    await record(earlier, "ses_old", 31, monkeypatch)
    await earlier.stop()
    recorder = Recorder(tmp_path)
    await recorder.start()
    assert await RecordingRetention(recorder, 30 * DAY, pause=0.0).apply() == 1
    assert not any(contents(recorder, "ses_old"))
    await recorder.stop()
    assert verified(tmp_path)


async def test_what_is_no_recording_keeps_nothing_else_from_going(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record(recorder, "ses_b", 31, monkeypatch)
    folder = next((recorder.data_dir / "recordings").glob("[0-9]*/[0-9]*"))
    (folder / "ses_a.tgr").write_bytes(b"something else")
    assert await RecordingRetention(recorder, 30 * DAY, pause=0.0).apply() == 1


async def test_one_process_at_a_time(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    await record(recorder, "ses_old", 31, monkeypatch)
    held = lock(recorder.data_dir / "recordings")
    assert held is not None
    retention = RecordingRetention(recorder, 30 * DAY, pause=0.0)
    assert await retention.apply() == 0
    os.close(held)
    assert await retention.apply() == 1


async def test_it_is_applied_now_and_then(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    await record(recorder, "ses_old", 31, monkeypatch)
    running = asyncio.create_task(RecordingRetention(recorder, 30 * DAY, every=0.05).run())
    async with asyncio.timeout(10):
        while any(contents(recorder, "ses_old")):
            await asyncio.sleep(0.02)
    running.cancel()
