"""Closed sessions become recordings in groups."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from taskgate.errors import JournalFault
from taskgate.recording import storage as storage_module
from taskgate.recording import upkeep
from taskgate.recording.compiling import compile_finished
from taskgate.recording.recorder import Recorder
from taskgate.recording.storage import Finished, LocalFolder
from taskgate.recording.upkeep import COMPILED_TOGETHER
from taskgate.recording.verify import verify
from tests.unit.recording.samples import opened, session
from tests.unit.recording.test_storage import WHEN


class CountingFolder(LocalFolder):
    """`store` notes how many came at once; `refusals` times it raises after having stored."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.groups: list[int] = []
        self.refusals = 0

    def store(self, finished: Sequence[Finished]) -> None:
        super().store(finished)
        self.groups.append(len(finished))
        if self.refusals:
            self.refusals -= 1
            raise OSError("the folder cannot be synced")


async def test_many_sessions_are_stored_together(tmp_path: Path) -> None:
    storage = CountingFolder(tmp_path / "recordings")
    recorder = Recorder(tmp_path, storage=storage)
    for number in range(COMPILED_TOGETHER + 6):
        session(recorder, f"ses_{number}")
    await recorder.settle()
    assert storage.groups == [COMPILED_TOGETHER, 6]
    assert len(list(storage.sessions())) == COMPILED_TOGETHER + 6
    await recorder.stop()
    result = verify(tmp_path)
    assert result.ok, result.first
    assert len(result.sessions) == COMPILED_TOGETHER + 6


async def test_a_group_that_was_stored_and_not_made_durable_is_stored_again(tmp_path: Path) -> None:
    storage = CountingFolder(tmp_path / "recordings")
    recorder = Recorder(tmp_path, storage=storage)
    for number in range(3):
        session(recorder, f"ses_{number}")
    storage.refusals = 1
    with pytest.raises(OSError, match="cannot be synced"):
        await recorder.settle()
    assert recorder.journal.segments[0].path.exists()
    await recorder.settle()
    assert storage.groups == [3, 3]
    await recorder.stop()
    assert not recorder.journal.folder.exists()
    result = verify(tmp_path)
    assert result.ok, result.first
    assert [one.records for one in result.sessions] == [9, 9, 9]


async def test_a_damaged_session_keeps_no_other_from_its_recording(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recordings = [session(recorder, f"ses_{number}") for number in range(3)]
    await recorder.checkpoint()
    jobs = [recording.job(finish=True) for recording in recordings]
    path, offsets = jobs[1].pieces[0]
    with path.open("r+b") as file:
        file.seek(offsets[0] + 40)
        file.write(b"\0" * 8)
    outcomes = compile_finished(jobs, recorder.storage)
    assert [outcome is None for outcome in outcomes] == [True, False, True]
    assert list(recorder.storage.sessions()) == ["ses_0", "ses_2"]
    await recorder.stop()
    assert path.exists()  # for a human to look at


def test_a_group_syncs_each_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(storage_module, "sync_folder", synced.append)
    storage = LocalFolder(tmp_path)
    for names, folders in (
        (("ses_1", "ses_2"), {"drafts", "2026/03", "2026", "."}),  # the month's folder is new
        (("ses_3", "ses_4", "ses_5"), {"drafts", "2026/03"}),
    ):
        for name in names:
            storage.draft(name).write_bytes(b"one")
        storage.store([Finished(name, WHEN) for name in names])
        assert sorted(str(path.relative_to(tmp_path)) for path in synced) == sorted(folders)
        synced.clear()
    storage.store([])
    assert synced == []


class PartlyUnwritable(LocalFolder):
    """Drafts of the sessions in `broken` cannot be written."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.broken: set[str] = set()

    def draft(self, session_id: str) -> Path:
        if session_id in self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().draft(session_id)


async def test_a_recording_that_cannot_be_written_holds_up_no_other(tmp_path: Path) -> None:
    storage = PartlyUnwritable(tmp_path / "recordings")
    recorder = Recorder(tmp_path, storage=storage)
    storage.broken = {"ses_0"}
    for number in range(COMPILED_TOGETHER + 6):
        session(recorder, f"ses_{number}")
    with pytest.raises(OSError, match="Input/output"):
        await recorder.settle()
    assert len(list(storage.sessions())) == COMPILED_TOGETHER + 5
    storage.broken = set()
    await recorder.settle()
    assert len(list(storage.sessions())) == COMPILED_TOGETHER + 6
    await recorder.stop()
    assert verify(tmp_path).ok


async def test_where_nothing_can_be_written_not_everything_is_tried(tmp_path: Path) -> None:
    storage = PartlyUnwritable(tmp_path / "recordings")
    recorder = Recorder(tmp_path, storage=storage)
    names = [f"ses_{number}" for number in range(COMPILED_TOGETHER * 3)]
    storage.broken = set(names)
    for name in names:
        session(recorder, name)
    with pytest.raises(OSError, match="Input/output"):
        await recorder.settle()
    storage.broken = set()
    await recorder.settle()
    assert sorted(storage.sessions()) == sorted(names)
    await recorder.stop()


async def test_recordings_that_cannot_be_written_for_long_are_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "TOLD_AFTER", 0.3)
    monkeypatch.setattr(upkeep, "RETRY_AFTER", 0.05)
    storage = PartlyUnwritable(tmp_path / "recordings")
    recorder = Recorder(tmp_path, storage=storage)
    await recorder.start()
    storage.broken = {"ses_1"}
    session(recorder)
    async with asyncio.timeout(10):
        while recorder.healthy:
            await asyncio.sleep(0.02)
    assert "recordings cannot be written" in str(recorder.fault)
    with pytest.raises(JournalFault, match="recordings cannot be written"):
        opened(recorder, "ses_2")
    storage.broken = set()
    async with asyncio.timeout(10):
        while not recorder.healthy:
            await asyncio.sleep(0.02)
    await recorder.stop()
    assert verify(tmp_path).ok


async def test_something_else_in_a_recordings_place(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    session(recorder, "ses_1")
    session(recorder, "ses_2")
    recorder.storage.draft("ses_1").mkdir()
    await recorder.settle()
    assert list(recorder.storage.sessions()) == ["ses_2"]
    await recorder.stop()
