from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from taskgate.errors import JournalFault
from taskgate.recording import upkeep
from taskgate.recording.chain import ChainChecker
from taskgate.recording.checkpoints import Checkpoint, read_checkpoints
from taskgate.recording.header import SessionHeader
from taskgate.recording.recorder import Recorder
from taskgate.recording.recordings import Recordings
from taskgate.recording.records import Event, RecordKind
from tests.unit.recording.faulty_disk import FaultyDisk
from tests.unit.recording.samples import action, header, opened, session, statement


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


@pytest.fixture
async def recorder(tmp_path: Path, disk: FaultyDisk) -> AsyncIterator[Recorder]:
    """Without upkeep: each test does it by hand."""
    recorder = Recorder(tmp_path, disk=disk, segment_bytes=20_000)
    yield recorder
    disk.__init__()  # type: ignore[misc]
    await recorder.stop()


def kinds(recorder: Recorder, session_id: str = "ses_1") -> list[str]:
    checker = ChainChecker(session_id)
    found = []
    for record in recorder.recordings.read(session_id):
        checker.check(record)
        found.append(str(record.kind))
    return found


def checkpoints(recorder: Recorder) -> list[Checkpoint]:
    return [Checkpoint.parse(line) for line in read_checkpoints(recorder.checkpoints.path)]


def test_append_touches_no_disk(recorder: Recorder, disk: FaultyDisk) -> None:
    recording = opened(recorder)
    assert [statement(recording) for _ in range(3)] == [1, 3, 5]
    assert disk.writes == 0
    recorder.write()
    assert disk.writes == 1
    assert disk.syncs == 0
    assert kinds(recorder) == ["session_opened"] + ["action", "result"] * 3


def test_a_living_session_reads_like_a_finished_one(recorder: Recorder) -> None:
    recording = opened(recorder)
    recording.append("action", action("select 'živě'"))
    recorder.write()
    records = list(Recordings(recorder.data_dir).read("ses_1"))
    assert records[1].content is not None
    assert records[1].content["text"] == "select 'živě'"
    assert records[1].content["rules"] == [{"rule": "etl-reads", "verdict": "allow", "reason": None}]
    assert list(Recordings(recorder.data_dir, contents=False).read("ses_1"))[1].content is None


def test_headers_name_the_policy_in_force(recorder: Recorder) -> None:
    recording = opened(recorder)
    recording.append(RecordKind.ACTION, action())
    recording.policy_version = "policy-2"
    recording.append(RecordKind.ACTION, action())
    recorder.write()
    versions = [record.header.policy for record in recorder.recordings.read("ses_1")]
    assert versions == ["policy-1", "policy-1", "policy-2"]
    assert {record.header.target for record in recorder.recordings.read("ses_1")} == {"target-digest"}


def test_what_cannot_be_recorded_is_not_appended(recorder: Recorder) -> None:
    recording = opened(recorder)
    with pytest.raises(JournalFault):
        recording.append("event", Event("x", {"v": object()}))
    with pytest.raises(JournalFault, match="no kind"):
        recording.append("wish", Event("x"))
    assert recording.append("event", Event("x")) == 1


def test_a_closed_recording_takes_nothing(recorder: Recorder) -> None:
    recording = session(recorder)
    recording.close("again")
    with pytest.raises(JournalFault, match="closed"):
        recording.append("event", Event("late"))
    recorder.write()
    assert kinds(recorder).count("session_closed") == 1


def test_a_session_is_recorded_once(recorder: Recorder) -> None:
    opened(recorder)
    with pytest.raises(JournalFault, match="already"):
        recorder.open(header("ses_1"))


def test_the_buffer_has_a_bound(tmp_path: Path, disk: FaultyDisk) -> None:
    recorder = Recorder(tmp_path, disk=disk, buffer_bytes=10_000)
    disk.write_error = errno.ENOSPC
    recording = opened(recorder)
    for _ in range(5):
        recording.append("action", action())
        with pytest.raises(JournalFault, match="No space"):
            recorder.write()
    with pytest.raises(JournalFault, match="too much waits"):
        recording.append("action", action("x" * 10_000))
    recording.close("full")  # the end is always taken
    disk.write_error = None
    recorder.write()
    assert kinds(recorder)[-1] == "session_closed"


async def test_many_waiters_share_an_fsync(recorder: Recorder, disk: FaultyDisk) -> None:
    recording = opened(recorder)
    disk.gate = threading.Event()

    async def durable() -> None:
        statement(recording)
        await recorder.sync()

    waiting = [asyncio.create_task(durable()) for _ in range(6)]
    await asyncio.sleep(0.05)
    waiting += [asyncio.create_task(durable()) for _ in range(6)]
    await asyncio.sleep(0.05)
    assert disk.syncs == 1  # and the loop was free all the while
    assert not any(task.done() for task in waiting)
    disk.gate.set()
    await asyncio.gather(*waiting)
    assert disk.syncs == 2  # one for all that were there, one for all that came while it ran


async def test_a_cancelled_waiter_stops_nobody_else(recorder: Recorder, disk: FaultyDisk) -> None:
    recording = opened(recorder)
    disk.gate = threading.Event()
    statement(recording)
    first = asyncio.create_task(recorder.sync())
    second = asyncio.create_task(recorder.sync())
    await asyncio.sleep(0.02)
    first.cancel()
    disk.gate.set()
    await second
    assert first.cancelled()
    assert recorder.journal.pending is False


async def test_a_full_disk_refuses_then_recovers(recorder: Recorder, disk: FaultyDisk) -> None:
    recording = opened(recorder)
    recorder.write()
    disk.room = 100
    statement(recording)
    with pytest.raises(JournalFault):
        recorder.write()
    with pytest.raises(JournalFault):
        await recorder.sync()
    assert not recorder.healthy
    with pytest.raises(JournalFault):
        recorder.open(header("ses_2"))
    disk.room = None
    await recorder.sync()
    assert recorder.healthy
    assert kinds(recorder) == ["session_opened", "action", "result"]


async def test_a_failed_fsync_then_a_good_one(recorder: Recorder, disk: FaultyDisk) -> None:
    recording = opened(recorder)
    disk.sync_error = errno.EIO
    waiting = [asyncio.create_task(recorder.sync()) for _ in range(3)]
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(result, JournalFault)
    assert not recorder.healthy
    statement(recording)
    with pytest.raises(JournalFault):
        recorder.write()
    disk.sync_error = None
    await recorder.sync()
    assert recorder.healthy
    assert kinds(recorder) == ["session_opened", "action", "result"]  # doubles are dropped


async def test_closed_sessions_become_recordings_and_the_journal_shrinks(recorder: Recorder) -> None:
    for number in range(12):
        session(recorder, f"ses_{number}", statements=20)
        recorder.write()
    await recorder.settle()
    assert len(recorder.journal.segments) == 1  # the current one
    assert sorted(recorder.storage.sessions()) == sorted(f"ses_{number}" for number in range(12))
    assert list(recorder.storage.drafts()) == []
    assert kinds(recorder, "ses_7")[-1] == "session_closed"
    (checkpoint,) = checkpoints(recorder)
    assert {head.state for head in checkpoint.body.sessions} == {"closed"}
    assert checkpoint.signed_by([recorder.signing_key.public])


async def test_a_session_is_signed_for_before_it_leaves_the_journal(recorder: Recorder, disk: FaultyDisk) -> None:
    session(recorder)
    disk.sync_error = errno.EIO
    with pytest.raises(JournalFault):
        await recorder.settle()
    assert list(recorder.storage.sessions()) == []
    assert checkpoints(recorder) == []
    disk.sync_error = None
    await recorder.settle()
    assert list(recorder.storage.sessions()) == ["ses_1"]
    assert kinds(recorder)[-1] == "session_closed"


async def test_checkpoints_list_only_what_has_grown(recorder: Recorder) -> None:
    first, second = opened(recorder, "ses_1"), opened(recorder, "ses_2")
    await recorder.checkpoint()
    await recorder.checkpoint()
    statement(second)
    await recorder.checkpoint()
    listed = [[(head.session, head.seq) for head in one.body.sessions] for one in checkpoints(recorder)]
    assert listed == [[("ses_1", 0), ("ses_2", 0)], [("ses_2", 2)]]
    assert first.head().head == checkpoints(recorder)[0].body.sessions[0].head


async def test_a_checkpoint_speaks_of_what_was_on_disk_when_it_began(recorder: Recorder, disk: FaultyDisk) -> None:
    recording = opened(recorder)
    disk.gate = threading.Event()
    signing = asyncio.create_task(recorder.checkpoint())
    await asyncio.sleep(0.02)
    statement(recording)
    recorder.write()
    disk.gate.set()
    await signing
    assert checkpoints(recorder)[0].body.sessions[0].seq == 0


async def test_a_long_session_does_not_keep_the_others_segments(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "SEALED_KEPT", 1)
    long = opened(recorder, "ses_long")
    for number in range(20):
        statement(long, f"select {number}")
        session(recorder, f"ses_{number}", statements=20)
        await recorder.sync()
    await recorder.settle()
    assert len(recorder.journal.segments) > 10
    await recorder._upkeep._relieve()
    assert len(recorder.journal.segments) <= 2
    assert kinds(recorder, "ses_long") == ["session_opened"] + ["action", "result"] * 20
    statement(long)
    long.close("done at last")
    await recorder.settle()
    assert kinds(recorder, "ses_long")[-2:] == ["result", "session_closed"]
    assert list(recorder.storage.drafts()) == []


async def test_upkeep_does_it_all_by_itself(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, sync_interval=0.05, checkpoint_interval=0.3)
    await recorder.start()
    living = opened(recorder, "ses_live")
    recorder.write()
    written = recorder.journal.written
    await asyncio.sleep(0.1)
    assert recorder.journal.synced == written  # nobody asked
    session(recorder, "ses_done")
    for _ in range(100):
        if list(recorder.storage.sessions()):
            break
        await asyncio.sleep(0.05)
    assert list(recorder.storage.sessions()) == ["ses_done"]
    statement(living)
    await recorder.stop()
    assert kinds(recorder, "ses_live")[-1] == "session_closed"
    assert list((tmp_path / "journal").iterdir()) == []


async def test_a_fault_ends_by_itself_when_the_disk_is_well(tmp_path: Path, disk: FaultyDisk) -> None:
    recorder = Recorder(tmp_path, disk=disk, sync_interval=0.05)
    await recorder.start()
    recording = opened(recorder)
    disk.room = 50
    statement(recording)
    with pytest.raises(JournalFault):
        recorder.write()
    await asyncio.sleep(0.15)
    assert not recorder.healthy
    disk.room = None
    for _ in range(100):
        if recorder.healthy and not recorder.dirty():
            break
        await asyncio.sleep(0.05)
    assert recorder.healthy
    assert recorder.journal.pending is False
    await recorder.stop()


async def test_erasing_keeps_the_proof(recorder: Recorder) -> None:
    other = opened(recorder, "ses_other")  # keeps the segment, and with it the wrapped key, alive
    session(recorder, "ses_1")
    await recorder.settle()
    journal = b"".join(path.read_bytes() for path in recorder.journal.folder.glob("*.seg"))
    assert b'"session":"ses_1","process"' in journal
    await recorder.erase("ses_1")
    records = list(recorder.recordings.read("ses_1"))
    assert all(record.content is None for record in records)
    assert kinds(recorder)[-1] == "session_closed"
    assert checkpoints(recorder)[-1].body.erased == ("ses_1",)
    after = b"".join(path.read_bytes() for path in recorder.journal.folder.glob("*.seg"))
    assert len(after) == len(journal)
    assert b'"wrapped":"' + b"0" * 120 + b'"' in after
    statement(other)
    recorder.write()
    assert kinds(recorder, "ses_other") == ["session_opened", "action", "result"]


async def test_a_living_session_is_not_erased(recorder: Recorder) -> None:
    opened(recorder)
    with pytest.raises(Exception, match="no finished recording"):
        await recorder.erase("ses_1")


def test_policy_texts_are_kept(recorder: Recorder) -> None:
    recorder.policy_text("v1", {"p.yaml": "version: 1"})
    assert b"version: 1" in (recorder.data_dir / "policies" / "v1.json").read_bytes()


async def test_a_session_of_which_nothing_was_recorded_leaves_nothing(recorder: Recorder) -> None:
    recording = recorder.open(header("ses_void"))
    await recorder.sync()
    recording.close("client disconnected at once")
    await recorder.settle()
    recorder.open(header("ses_void_too")).close("before anything was written")
    await recorder.settle()
    await recorder.sync()
    assert recorder.sessions == {}
    assert +recorder.pins == {}
    assert checkpoints(recorder) == []


def test_a_session_begins_once(recorder: Recorder) -> None:
    recording = opened(recorder)
    with pytest.raises(JournalFault, match="begun already"):
        recording.append("session_opened", {})


def test_a_header_that_is_too_long_harms_nobody_else(recorder: Recorder) -> None:
    recording = opened(recorder)
    with pytest.raises(JournalFault, match="header"):
        recorder.open(SessionHeader("ses_2", "v" * 70_000, "t"))
    with pytest.raises(JournalFault, match="header"):
        recording.policy_version = "v" * 70_000
    recording.append("event", Event("x"))
    recorder.write()
    assert kinds(recorder) == ["session_opened", "event"]
    assert list(recorder.sessions) == ["ses_1"]


async def test_segments_stay_until_a_sync_has_succeeded_again(recorder: Recorder, disk: FaultyDisk) -> None:
    """What was acknowledged is in a segment that is not trusted any more, and perhaps nowhere else yet."""
    opened(recorder)
    recorder.write()
    disk.sync_error = errno.EIO
    with pytest.raises(JournalFault):
        await recorder.sync()
    disk.write_error = errno.ENOSPC
    with pytest.raises(JournalFault):
        await recorder.sync()
    recorder._upkeep._remove_unpinned()
    assert kinds(recorder) == ["session_opened"]
    disk.write_error = disk.sync_error = None
    await recorder.sync()
    recorder._upkeep._remove_unpinned()
    assert [segment.number for segment in recorder.journal.segments] == [2]
    assert kinds(recorder) == ["session_opened"]


def test_a_fault_raised_for_hours_gathers_no_tracebacks(recorder: Recorder, disk: FaultyDisk) -> None:
    opened(recorder)
    disk.write_error = errno.ENOSPC
    caught = []
    for _ in range(3):
        with pytest.raises(JournalFault) as one:
            recorder.write()
        caught.append(one.value)
    assert len(set(map(id, caught))) == 3
    assert recorder.fault is not None
    assert recorder.fault.__traceback__ is None


def test_backlog(recorder: Recorder) -> None:
    assert recorder.backlog == 0
    recording = opened(recorder)
    queued = recorder.backlog
    recorder.write()
    assert 0 < queued < recorder.backlog
    recording.append("event", Event("x"))


async def test_behind(tmp_path: Path) -> None:
    """Well before the buffer is full, and no longer once all is on disk."""
    recorder = Recorder(tmp_path, buffer_bytes=40_000)
    recording = opened(recorder)
    assert not recorder.behind
    recording.append("event", Event("x", {"text": "y" * 12_000}))
    assert recorder.behind
    recorder.write()
    assert recorder.behind
    await recorder.sync()
    assert not recorder.behind
    await recorder.stop()


@pytest.mark.timeout(20)
async def test_a_sync_that_begins_as_another_ends_does_not_hang_the_loop(recorder: Recorder) -> None:
    recording = opened(recorder)
    first = asyncio.create_task(recorder.sync())
    while recorder._syncing is None:
        await asyncio.sleep(0)
    syncing = recorder._syncing
    while not syncing.done():  # seen in the very round in which it ends, before anybody was told
        await asyncio.sleep(0)
    statement(recording)
    await recorder.sync()
    await first
    assert recorder.journal.synced == recorder.journal.written
