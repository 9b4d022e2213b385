"""Closed sessions become recordings in groups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from taskgate.recording import storage as storage_module
from taskgate.recording.compiling import compile_finished
from taskgate.recording.recorder import Recorder
from taskgate.recording.storage import Finished, LocalFolder
from taskgate.recording.upkeep import COMPILED_TOGETHER
from taskgate.recording.verify import verify
from tests.unit.recording.samples import session
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
