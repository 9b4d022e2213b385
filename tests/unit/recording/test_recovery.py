from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path

import pytest

from taskgate.recording.checkpoints import Checkpoint, Recovered, Shortened, read_checkpoints
from taskgate.recording.framing import FrameReader, frame
from taskgate.recording.recorder import Recorder
from taskgate.recording.recordings import Recordings
from taskgate.recording.recovery import Recovery
from taskgate.recording.storage import LocalFolder
from taskgate.recording.verify import verify
from tests.unit.recording.faulty_disk import FaultyDisk
from tests.unit.recording.samples import opened, session, statement


def die(recorder: Recorder) -> None:
    """What the kernel does for a process that is killed: files closed, locks given back, nothing else."""
    recorder.journal.close()


async def restart(data_dir: Path) -> list[Checkpoint]:
    recorder = Recorder(data_dir)
    await recorder.start()
    found = [Checkpoint.parse(line) for line in read_checkpoints(recorder.checkpoints.path)]
    await recorder.stop()
    return found


async def test_living_sessions_of_the_dead_are_closed_and_signed_for(tmp_path: Path) -> None:
    dead = Recorder(tmp_path, segment_bytes=3000)
    for number in range(3):
        recording = opened(dead, f"ses_{number}")
        for _ in range(number * 5):
            statement(recording)
            dead.write()
    session(dead, "ses_done")
    dead.write()
    die(dead)
    last = (await restart(tmp_path))[-1]
    assert {head.session: head.state for head in last.body.sessions} == dict.fromkeys(
        ["ses_0", "ses_1", "ses_2", "ses_done"], "closed"
    )
    assert [(one.process, one.sessions, one.lost_bytes) for one in last.body.recovered] == [(dead.process_id, 4, 0)]
    result = verify(tmp_path)
    assert result.ok, result.first
    assert all(one.sealed for one in result.sessions)
    records = list(dead.recordings.read("ses_2"))
    assert records[-1].content == {"reason": "gateway died", "lost_bytes": 0}
    assert len(records) == 1 + 20 + 1
    assert list(dead.recordings.read("ses_done"))[-1].content == {"reason": "client disconnected", "lost_bytes": 0}
    assert list((tmp_path / "journal").iterdir()) == []


async def test_a_torn_tail_is_cut_and_told(tmp_path: Path) -> None:
    dead = Recorder(tmp_path)
    recording = opened(dead)
    statement(recording)
    dead.write()
    die(dead)
    (path,) = dead.journal.folder.glob("*.seg")
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    last = (await restart(tmp_path))[-1]
    assert last.body.recovered[0].lost_bytes > 0
    records = list(dead.recordings.read("ses_1"))
    assert [str(one.kind) for one in records] == ["session_opened", "action", "session_closed"]
    assert records[-1].content == {"reason": "gateway died", "lost_bytes": last.body.recovered[0].lost_bytes}
    assert verify(tmp_path).ok


async def test_the_living_are_left_alone(tmp_path: Path) -> None:
    living = Recorder(tmp_path)
    opened(living)
    living.write()
    assert await restart(tmp_path) == []
    assert living.journal.folder.exists()
    await living.stop()
    assert verify(tmp_path).ok


async def test_what_the_living_finish_meanwhile_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their drafts come and go while another process looks for what the dead left."""
    dead = Recorder(tmp_path)
    statement(opened(dead))
    dead.write()
    die(dead)
    listed = LocalFolder.drafts
    with monkeypatch.context() as patch:
        patch.setattr(LocalFolder, "drafts", lambda storage: (*listed(storage), "ses_of_the_living"))
        assert [one.process for one in (await restart(tmp_path))[-1].body.recovered] == [dead.process_id]
    assert verify(tmp_path).ok


async def test_a_draft_that_grew_until_its_process_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How far it is counts once the process is known to be dead, not before."""
    dead = Recorder(tmp_path)
    recording = opened(dead)
    statement(recording, "select 1")
    await dead.sync()
    await dead._upkeep._save(recording)
    is_dead = Recovery._is_dead

    def dies_late(recovery: Recovery, folder: Path, has_drafts: bool) -> bool:
        if folder.name == dead.process_id and recording.id in dead.sessions:
            statement(recording, "select 2")
            dead.write()
            recording.job(finish=False).run(dead.storage)
            dead._upkeep._compiler.shutdown()
            del dead.sessions[recording.id]
            die(dead)
        return is_dead(recovery, folder, has_drafts)

    monkeypatch.setattr(Recovery, "_is_dead", dies_late)
    await restart(tmp_path)
    texts = [one.content["text"] for one in dead.recordings.read("ses_1") if one.kind == "action" and one.content]
    assert texts == ["select 1", "select 2"]
    assert verify(tmp_path).ok


async def test_dying_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recovery that dies after compiling, before signing; then once more after signing, before removing."""
    dead = Recorder(tmp_path)
    statement(opened(dead))
    dead.write()
    die(dead)

    second = Recorder(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(second.checkpoints, "append", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await second.start()
    die(second)
    assert list(dead.recordings.read("ses_1"))[-1].content is not None

    third = Recorder(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("taskgate.recording.recovery.discard", lambda folder: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await third.start()
    die(third)

    await restart(tmp_path)
    result = verify(tmp_path)
    assert result.ok, result.first
    assert [(one.session, one.records) for one in result.sessions] == [("ses_1", 4)]
    journals = [path.name for path in (tmp_path / "journal").iterdir()]
    assert dead.process_id not in journals


async def test_a_draft_and_what_came_after_it(tmp_path: Path) -> None:
    dead = Recorder(tmp_path, segment_bytes=4000)
    recording = opened(dead)
    for number in range(10):
        statement(recording, f"select {number}")
        await dead.sync()
    await dead._upkeep._save(recording)
    dead._upkeep._remove_unpinned()
    for number in range(10, 15):
        statement(recording, f"select {number}")
        dead.write()
    dead._upkeep._compiler.shutdown()
    die(dead)
    await restart(tmp_path)
    texts = [one.content["text"] for one in dead.recordings.read("ses_1") if one.kind == "action" and one.content]
    assert texts == [f"select {number}" for number in range(15)]
    assert verify(tmp_path).ok


async def test_a_draft_whose_journal_holds_nothing_more(tmp_path: Path) -> None:
    dead = Recorder(tmp_path)
    recording = opened(dead)
    statement(recording)
    await dead.sync()
    await dead._upkeep._save(recording)
    dead._upkeep._compiler.shutdown()
    die(dead)
    for path in dead.journal.folder.glob("*.seg"):
        path.unlink()
    await restart(tmp_path)
    assert list(dead.recordings.read("ses_1"))[-1].content == {"reason": "gateway died", "lost_bytes": 0}
    assert verify(tmp_path).ok


async def test_what_was_written_twice_after_a_failed_fsync_counts_once(tmp_path: Path) -> None:
    disk = FaultyDisk()
    dead = Recorder(tmp_path, disk=disk)
    recording = opened(dead)
    statement(recording)
    disk.sync_error = 5
    with pytest.raises(Exception, match="synced"):
        await dead.sync()
    disk.sync_error = None
    await dead.sync()
    statement(recording)
    dead.write()
    die(dead)
    assert len(list(dead.journal.folder.glob("*.seg"))) == 2
    await restart(tmp_path)
    assert [one.seq for one in dead.recordings.read("ses_1")] == list(range(6))
    assert verify(tmp_path).ok


async def test_a_damaged_copy_is_made_good_by_the_second(tmp_path: Path) -> None:
    disk = FaultyDisk()
    dead = Recorder(tmp_path, disk=disk)
    recording = opened(dead)
    for _ in range(3):
        statement(recording)
    disk.sync_error = 5
    with pytest.raises(Exception, match="synced"):
        await dead.sync()
    disk.sync_error = None
    await dead.sync()
    die(dead)
    first = min(dead.journal.folder.glob("*.seg"))
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 0xFF  # the page that the failed fsync dropped
    first.write_bytes(data)
    await restart(tmp_path)
    assert [one.seq for one in dead.recordings.read("ses_1")] == list(range(8))
    assert verify(tmp_path).ok


async def test_damage_with_no_second_copy_is_not_hidden(tmp_path: Path) -> None:
    dead = Recorder(tmp_path)
    recording = opened(dead)
    for _ in range(3):
        statement(recording)
    dead.write()
    die(dead)
    (path,) = dead.journal.folder.glob("*.seg")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    await restart(tmp_path)
    result = verify(tmp_path)
    assert result.first is not None
    assert "missing" in result.first.message


async def test_another_recording_key_keeps_the_journal(tmp_path: Path) -> None:
    dead = Recorder(tmp_path)
    statement(opened(dead))
    dead.write()
    die(dead)
    (tmp_path / "keys" / "recording.key").write_bytes(os.urandom(32))
    assert (await restart(tmp_path))[-1].body.sessions == ()
    assert dead.journal.folder.exists()  # for whoever finds the right key


async def test_a_journal_kept_for_one_session_has_no_other_signed_for_again(tmp_path: Path) -> None:
    dead = Recorder(tmp_path)
    statement(opened(dead, "ses_1"))
    statement(opened(dead, "ses_2"))
    dead.write()
    die(dead)
    drafts = tmp_path / "recordings" / "drafts"
    drafts.mkdir(parents=True)
    (drafts / "ses_2.tgr").mkdir()
    signed = [[head.session for head in (await restart(tmp_path))[-1].body.sessions] for _ in range(3)]
    assert signed == [["ses_1"], [], []]
    (drafts / "ses_2.tgr").rmdir()
    assert [head.session for head in (await restart(tmp_path))[-1].body.sessions] == ["ses_2"]
    assert not dead.journal.folder.exists()
    assert verify(tmp_path).ok


async def test_an_empty_folder_is_removed_when_it_is_old(tmp_path: Path) -> None:
    dead = Recorder(tmp_path)
    die(dead)
    await restart(tmp_path)
    assert dead.journal.folder.exists()  # somebody may just be starting
    old = time.time() - 3600
    os.utime(dead.journal.folder, (old, old))
    await restart(tmp_path)
    assert not dead.journal.folder.exists()


async def test_a_process_that_ends_in_order_meanwhile_stops_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, starting = Recorder(tmp_path), Recorder(tmp_path)
    session(other)
    await other.settle()
    loop, is_dead = asyncio.get_running_loop(), Recovery._is_dead

    def ends_first(recovery: Recovery, folder: Path, has_drafts: bool) -> bool:
        if folder.name == other.process_id:
            asyncio.run_coroutine_threadsafe(other.stop(), loop).result(10)
        return is_dead(recovery, folder, has_drafts)

    with monkeypatch.context() as patch:
        patch.setattr(Recovery, "_is_dead", ends_first)
        await starting.start()
    await starting.stop()
    assert list((tmp_path / "journal").iterdir()) == []
    assert verify(tmp_path).ok


async def test_a_folder_that_goes_before_its_lock_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other, starting = Recorder(tmp_path), Recorder(tmp_path)
    statement(opened(other))
    other.write()

    def gone(folder: Path) -> None:
        other.journal.close()
        other.journal.discard()
        raise FileNotFoundError(folder / "lock")

    with monkeypatch.context() as patch:
        patch.setattr("taskgate.recording.recovery.lock", gone)
        await starting.start()
    await starting.stop()
    assert list((tmp_path / "journal").iterdir()) == []


@pytest.mark.parametrize("name", [".nfs0001", "notes.txt", "00000007.seg/", "lock/"])
async def test_what_is_not_the_journals_stops_no_start(tmp_path: Path, name: str) -> None:
    dead = Recorder(tmp_path)
    statement(opened(dead))
    dead.write()
    die(dead)
    stray = dead.journal.folder / name
    if name.endswith("/"):
        stray.unlink(missing_ok=True)
        stray.mkdir()
    else:
        stray.write_bytes(b"somebody else's")
    found = await restart(tmp_path)
    if name == "lock/":  # who is alive cannot be told: left alone
        assert found == []
        return
    assert [one.process for one in found[-1].body.recovered] == [dead.process_id]
    assert [path.name for path in dead.journal.folder.iterdir()] == [stray.name]
    assert verify(tmp_path).ok
    os.utime(dead.journal.folder, (1, 1))
    again = await restart(tmp_path)
    if stray.is_file():
        assert len(again) == len(found)  # nothing new to say of it


@pytest.mark.parametrize(
    "payload",
    [
        b"R\x02\x00{}",
        b"R\x02\x00[]",
        b"R\x01\x001",
        b"Rxxxx",
        b"R\xff\xff{",
        b'R\x1b\x00{"session":"ses_x","seq":-1}',
        b'R\x1a\x00{"session":"../../x","seq":0}'[:29],
        b'R\x15\x00{"session":7,"seq":0}',
        b'R\x19\x00{"session":"ses_x","seq":0}sealed',
        b'R\x1a\x00{"session":"ses_x","seq":0}sealed',
        b"S",
        b"S{}",
        b"S[]",
        b'S{"session":"ses_x","process":"gwp_x","key_id":"k","wrapped":"zz"}',
        b'S{"session":"ses_x","process":"gwp_x","key_id":"k","wrapped":"00"}',
        b'S{"session":"../x","process":"gwp_x","key_id":"k","wrapped":"00"}',
        b'S{"session":"ses_x","process":1,"key_id":"k","wrapped":"00"}',
        b"P{}",
        b"?",
    ],
)
async def test_a_frame_that_no_gateway_writes_costs_nobody_else(tmp_path: Path, payload: bytes) -> None:
    dead = Recorder(tmp_path)
    statement(opened(dead))
    dead.write()
    die(dead)
    (path,) = dead.journal.folder.glob("*.seg")
    path.write_bytes(frame(payload) + path.read_bytes())
    assert "ses_1" in dead.recordings.sessions()
    last = (await restart(tmp_path))[-1]
    assert [head.session for head in last.body.sessions] == ["ses_1"]
    assert [one.problem for one in verify(tmp_path, sessions=["ses_1"]).sessions] == [None]


@pytest.mark.parametrize(
    "content", [b"", b"something", b"TGR1\n" + frame(b"K{"), b"TGR1\n" + frame(b"K[]"), b"TGR1\n" + frame(b"K{}")]
)
@pytest.mark.parametrize("name", ["ses_2.tgr", "ses 2.tgr"])
async def test_a_draft_that_is_none_costs_nobody_else(tmp_path: Path, name: str, content: bytes) -> None:
    dead = Recorder(tmp_path)
    statement(opened(dead))
    dead.write()
    die(dead)
    drafts = tmp_path / "recordings" / "drafts"
    drafts.mkdir(parents=True)
    (drafts / name).write_bytes(content)
    (drafts / "ses_3.tgr").mkdir()
    assert [head.session for head in (await restart(tmp_path))[-1].body.sessions] == ["ses_1"]
    assert [one.problem for one in verify(tmp_path, sessions=["ses_1"]).sessions] == [None]


async def test_a_journal_older_than_the_checkpoints_costs_only_its_session(tmp_path: Path) -> None:
    """A copy made of a running gateway's data folder, the journal first."""
    dead, copy = Recorder(tmp_path / "data"), tmp_path / "copy"
    session(dead, "ses_done")
    recording = opened(dead)
    statement(recording)
    await dead.checkpoint()
    shutil.copytree(dead.journal.folder, copy / "journal" / dead.process_id)
    for _ in range(3):
        statement(recording)
    await dead.checkpoint()
    for name in ("keys", "checkpoints"):
        shutil.copytree(dead.data_dir / name, copy / name)
    (recovered,) = (await restart(copy))[-1].body.recovered
    assert recovered == Recovered(dead.process_id, 1, 0, (Shortened("ses_1", 3, 9),))
    for number in range(2):
        later = Recorder(copy)
        await later.start()
        session(later, f"ses_later{number}")
        await later.stop()
    result = verify(copy, public_keys=[dead.signing_key.public])
    assert result.problems == ()
    problem = next(one.problem for one in result.sessions if one.session == "ses_1")
    assert problem is not None
    assert problem.message == "is missing: checkpoint 2 signed for records up to 8"
    assert [one.session for one in result.sessions if one.sealed] == ["ses_done", "ses_later0", "ses_later1"]
    assert [one.seq for one in Recordings(copy).read("ses_1")] == [0, 1, 2]
    await dead.stop()


async def test_a_signed_session_of_which_nothing_is_left(tmp_path: Path) -> None:
    dead = Recorder(tmp_path)
    opened(dead)
    await dead.checkpoint()
    die(dead)
    (path,) = dead.journal.folder.glob("*.seg")
    with path.open("rb") as file:
        begun = [one for one in FrameReader(file) if one.payload[:1] == b"S"]
    os.truncate(path, begun[0].end)
    (recovered,) = (await restart(tmp_path))[-1].body.recovered
    assert recovered == Recovered(dead.process_id, 0, 0, (Shortened("ses_1", 0, 1),))
    result = verify(tmp_path)
    assert result.problems == ()
    assert [str(one.problem) for one in result.sessions] == ["session ses_1, record 0: is missing as a whole"]


async def test_a_shortened_session_stays_so_however_often_recovery_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = Recorder(tmp_path)
    recording = opened(dead)
    await dead.sync()
    (path,) = dead.journal.folder.glob("*.seg")
    size = path.stat().st_size
    statement(recording)
    await dead.checkpoint()
    die(dead)
    os.truncate(path, size)
    second = Recorder(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("taskgate.recording.recovery.discard", lambda folder: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await second.start()
    die(second)
    found = await restart(tmp_path)
    assert [one.body.recovered[0].short for one in found[-2:]] == [(Shortened("ses_1", 1, 3),)] * 2
    assert [one.body.sessions for one in found[-2:]] == [(), ()]
    assert verify(tmp_path).problems == ()


async def test_another_recording_in_the_place_of_a_signed_one_is_not_signed_for(tmp_path: Path) -> None:
    """As long as the first and of the same name: signing it too would spoil the checkpoints."""
    first, second = Recorder(tmp_path / "1"), Recorder(tmp_path / "2")
    for recorder in (first, second):
        statement(opened(recorder))
        await recorder.checkpoint()
        die(recorder)
    shutil.rmtree(first.journal.folder)
    shutil.copytree(second.journal.folder, first.journal.folder)
    shutil.copy(tmp_path / "2" / "keys" / "recording.key", tmp_path / "1" / "keys" / "recording.key")
    assert (await restart(tmp_path / "1"))[-1].body.sessions == ()
    result = verify(tmp_path / "1")
    assert result.problems == ()
    assert result.first is not None
    assert result.first.message == "differs from what checkpoint 1 signed for"


async def test_a_key_that_is_not_written_as_a_gateway_writes_it_is_not_overwritten(tmp_path: Path) -> None:
    """A shorter frame in its place would swallow the one behind it."""
    living = Recorder(tmp_path)
    session(living)
    await living.settle()
    planted = living.journal.folder.parent / "gwp_planted"
    planted.mkdir()
    before = frame(b'S{"session": "ses_1", "process": "gwp_x", "key_id": "k", "wrapped": "aa"}') + frame(b"P{}")
    (planted / "00000001.seg").write_bytes(before)
    await living.erase("ses_1")
    assert (planted / "00000001.seg").read_bytes() == before
    await living.stop()
