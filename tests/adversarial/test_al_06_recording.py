"""AL-06: what can befall an audit trail. Kill -9 is in tests/integration/recording/test_kill.py, forged evidence in
tests/unit/recording/test_verify.py; here are disks, clocks, writers and keys."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import zstandard

from taskgate.errors import JournalFault
from taskgate.recording import chain, session_recording
from taskgate.recording.checkpoints import Checkpoint, read_checkpoints
from taskgate.recording.disk import Disk
from taskgate.recording.framing import frame
from taskgate.recording.journal import Journal
from taskgate.recording.keys import PublicKey
from taskgate.recording.recorder import Recorder
from taskgate.recording.recording_file import MAGIC
from taskgate.recording.verify import verify
from tests.unit.recording.faulty_disk import FaultyDisk
from tests.unit.recording.samples import header, opened, session, statement


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system with little room."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "taskgate-test", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


async def settled(recorder: Recorder, seconds: float = 5.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if recorder.healthy and not recorder.dirty():
            return True
        await asyncio.sleep(0.02)
    return False


def seqs(recorder: Recorder, session_id: str) -> list[int]:
    return [one.seq for one in recorder.recordings.read(session_id)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts; test_al_06_no_room_by_resource_limit needs no root")
async def test_al_06_disk_full_on_a_real_file_system(small_disk: Path) -> None:
    recorder = Recorder(small_disk, sync_interval=0.05, segment_bytes=32_000)
    await recorder.start()
    recording = opened(recorder)
    recorder.write()
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file:  # somebody else fills it
        with contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        forwarded, refused = [], 0
        for _ in range(200):
            seq = statement(recording, "select '" + "x" * 300 + "'")
            try:
                recorder.write()
            except JournalFault:
                refused += 1
            else:
                forwarded.append(seq)
        assert refused > 100
        assert not recorder.healthy
        assert set(forwarded) <= set(seqs(recorder, "ses_1"))
        with pytest.raises(JournalFault):
            recorder.open(header("ses_2"))
    ballast.unlink()
    assert await settled(recorder)  # by itself, and with everything that had waited
    assert seqs(recorder, "ses_1") == list(range(401))
    session(recorder, "ses_2")
    await recorder.stop()
    result = verify(small_disk)
    assert result.ok, result.first
    assert [one.session for one in result.sessions] == ["ses_1", "ses_2"]


async def test_al_06_a_file_system_that_turns_read_only(tmp_path: Path) -> None:
    """As the kernel does it after an error (`errors=remount-ro`): what is open stays open, every write says EROFS."""
    disk = FaultyDisk()
    recorder = Recorder(tmp_path, disk=disk, sync_interval=0.05)
    await recorder.start()
    recording = opened(recorder)
    await recorder.sync()
    disk.write_error = disk.create_error = disk.truncate_error = disk.sync_error = errno.EROFS
    statement(recording)
    with pytest.raises(JournalFault, match="Read-only"):
        recorder.write()
    await asyncio.sleep(0.2)
    assert not recorder.healthy
    disk.write_error = disk.create_error = disk.truncate_error = disk.sync_error = None
    assert await settled(recorder)
    await recorder.stop()
    assert seqs(recorder, "ses_1") == [0, 1, 2, 3]
    assert verify(tmp_path).ok


_LIMITED = """
import asyncio, pathlib, resource, signal, sys
from taskgate.errors import JournalFault
from taskgate.recording.recorder import Recorder
from tests.unit.recording.samples import opened, statement

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    recorder = Recorder(pathlib.Path(sys.argv[1]))
    recording = opened(recorder)
    await recorder.sync()
    await recorder.checkpoint()
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
    refused = 0
    for _ in range(50):
        statement(recording)
        try:
            recorder.write()
        except JournalFault as fault:
            assert "too large" in str(fault), fault
            refused += 1
    assert 30 < refused < 50, refused
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    recorder.write()
    assert recorder.healthy
    assert [one.seq for one in recorder.recordings.read("ses_1")] == list(range(101))
    await recorder.stop()
    print("done")

asyncio.run(main())
"""


def test_al_06_no_room_by_resource_limit(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == "done\n", ran.stderr
    assert verify(tmp_path).ok
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


async def test_al_06_io_error_refuses_and_recovers(tmp_path: Path) -> None:
    disk = FaultyDisk()
    recorder = Recorder(tmp_path, disk=disk, sync_interval=0.05)
    await recorder.start()
    recording = opened(recorder)
    await recorder.sync()
    disk.write_error = errno.EIO
    statement(recording)
    with pytest.raises(JournalFault, match="Input/output error"):
        recorder.write()
    disk.write_error = None
    assert await settled(recorder)
    await recorder.stop()
    assert verify(tmp_path).ok
    assert seqs(recorder, "ses_1") == [0, 1, 2, 3]


async def test_al_06_fsync_lie(tmp_path: Path) -> None:
    """What Linux does when writing back fails: the pages are dropped and marked clean, fsync fails once, and the next
    one says that all is well."""
    disk = FaultyDisk()
    recorder = Recorder(tmp_path, disk=disk)
    recording = opened(recorder)
    await recorder.sync()
    durable = recorder.journal.segments[0].size
    statement(recording)
    recorder.write()

    def drop(descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        os.truncate(recorder.journal.segments[0].path, durable)
        os.truncate(recorder.journal.segments[0].path, size)  # zeros where the record was

    disk.sync_error, disk.on_failed_sync = errno.EIO, drop
    with pytest.raises(JournalFault, match="synced"):
        await recorder.sync()
    disk.sync_error = None
    with pytest.raises(JournalFault):
        recorder.write()
    await recorder.sync()
    assert recorder.healthy
    assert seqs(recorder, "ses_1") == [0, 1, 2]
    await recorder.stop()
    assert verify(tmp_path).ok


async def test_al_06_a_slow_sink_and_a_slow_disk_hold_up_nobody(tmp_path: Path) -> None:
    class SlowSink:
        def __init__(self) -> None:
            self.got: list[bytes] = []
            self.release = threading.Event()

        def push(self, line: bytes) -> None:
            self.release.wait(20)
            self.got.append(line)

    sink, disk = SlowSink(), FaultyDisk()
    recorder = Recorder(tmp_path, disk=disk, sinks=[sink], checkpoint_interval=0.05)
    await recorder.start()
    for number in range(3):
        session(recorder, f"ses_{number}")
        await recorder.settle()
    disk.gate = threading.Event()
    recording = opened(recorder, "ses_slow")
    waiting = asyncio.create_task(recorder.sync())
    started = time.monotonic()
    for _ in range(50):
        statement(recording)
        recorder.write()
        await asyncio.sleep(0)
    assert time.monotonic() - started < 0.5
    assert not waiting.done()
    disk.gate.set()
    await waiting
    assert sink.got == []
    sink.release.set()
    await recorder.stop()
    assert sink.got == list(read_checkpoints(recorder.checkpoints.path))


async def test_al_06_clock_jumps_change_no_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([10**18, 2 * 10**18, 5 * 10**17, 3, 10**18] + [7] * 100)
    monkeypatch.setattr(session_recording, "time_ns", lambda: next(moments))
    recorder = Recorder(tmp_path)
    recording = opened(recorder)
    statement(recording)
    recording.close("done")
    await recorder.stop()
    assert seqs(recorder, "ses_1") == [0, 1, 2, 3]
    assert verify(tmp_path).ok
    assert chain.ChainChecker("x").next_seq == 0


async def test_al_06_two_writers_one_sequence(tmp_path: Path) -> None:
    first, second = Recorder(tmp_path), Recorder(tmp_path)
    for number in range(6):
        one = (first, second)[number % 2]
        session(one, f"ses_{number}")
        await one.settle()
    await asyncio.gather(first.stop(), second.stop())
    bodies = [Checkpoint.parse(line).body for line in read_checkpoints(first.checkpoints.path)]
    assert [body.sequence for body in bodies] == list(range(1, 7))
    assert [body.process for body in bodies] == [first.process_id, second.process_id] * 3
    assert verify(tmp_path).ok


def test_al_06_two_writers_of_one_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "gwp_1", disk=Disk())
    with pytest.raises(FileExistsError):
        Journal(tmp_path, "gwp_1", disk=Disk())
    journal.close()


_WRITER = """
import asyncio, pathlib, sys
from taskgate.recording.recorder import Recorder
from tests.unit.recording.samples import session

async def main():
    recorder = Recorder(pathlib.Path(sys.argv[1]))
    await recorder.start()
    for number in range(10):
        session(recorder, f"ses_{sys.argv[2]}_{number}")
        await recorder.settle()
    await recorder.stop()

asyncio.run(main())
"""


def test_al_06_two_processes_one_sequence(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path), name], cwd=Path(__file__).parents[2])
        for name in ("a", "b")
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    result = verify(tmp_path)
    assert result.ok, result.first
    assert len(result.sessions) == 20
    assert all(one.sealed for one in result.sessions)


async def test_al_06_key_rotated(tmp_path: Path) -> None:
    """The old key and the new one are both needed; either alone proves only its part."""
    recorder = Recorder(tmp_path)
    session(recorder, "ses_1")
    await recorder.stop()
    keys = [PublicKey.parse((tmp_path / "keys" / "checkpoint.pub").read_bytes())]
    shutil.move(tmp_path / "keys" / "checkpoint.key", tmp_path / "old.key")
    (tmp_path / "keys" / "checkpoint.pub").unlink()
    recorder = Recorder(tmp_path)
    session(recorder, "ses_2")
    await recorder.stop()
    keys.append(PublicKey.parse((tmp_path / "keys" / "checkpoint.pub").read_bytes()))
    assert verify(tmp_path, public_keys=keys).ok
    for alone in keys:
        assert "signed by another key" in str(verify(tmp_path, public_keys=[alone]).problems[0])


def test_al_06_a_signal_in_the_middle_of_a_write_tears_nothing(tmp_path: Path) -> None:
    """A pipe that is full makes the write block; an interrupting signal must not leave half a record or lose one."""
    reading, writing = os.pipe()
    received = bytearray()
    start = threading.Event()

    class Pipe(Disk):
        def create(self, path: Path) -> int:
            return writing

        def truncate(self, descriptor: int, size: int) -> None:
            raise OSError(errno.EINVAL, "a pipe cannot be cut")

    def drain() -> None:
        start.wait(10)
        while chunk := os.read(reading, 65536):
            received.extend(chunk)

    drainer = threading.Thread(target=drain)
    drainer.start()
    signals = []

    def alarm(*_: object) -> None:
        signals.append(1)
        if len(signals) > 3:
            start.set()

    previous = signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        recorder = Recorder(tmp_path, disk=Pipe())
        recording = opened(recorder)
        for _ in range(500):
            statement(recording)
        recorder.write()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    recorder.journal.close()
    drainer.join(10)
    os.close(reading)
    assert len(signals) > 3
    (folder := tmp_path / "journal" / "gwp_pipe").mkdir()
    (folder / "00000001.seg").write_bytes(received)
    assert seqs(recorder, "ses_1") == list(range(1001))


async def test_al_06_a_segment_removed_under_a_living_gateway(tmp_path: Path) -> None:
    """Who was in it loses what it held; nobody else does, and the gateway says so and goes on."""
    recorder = Recorder(tmp_path, sync_interval=0.05)
    await recorder.start()
    key = [recorder.signing_key.public]
    hit = opened(recorder, "ses_hit")
    await recorder.checkpoint()
    next(recorder.journal.folder.glob("*.seg")).unlink()
    spared = opened(recorder, "ses_spared")
    statement(spared)
    statement(hit)
    with pytest.raises(JournalFault, match="removed"):
        await recorder.sync()
    with pytest.raises(JournalFault, match="removed"):
        recorder.write()
    assert await settled(recorder)
    assert seqs(recorder, "ses_spared") == [0, 1, 2]
    hit.close("over")
    for number in range(70):
        session(recorder, f"ses_{number}")
    await recorder.settle()
    assert recorder.healthy
    assert len(list(recorder.storage.sessions())) == 70
    spared.close("over")
    await recorder.stop()
    assert recorder.journal.folder.exists()  # for a human to look at
    again = Recorder(tmp_path)
    await again.start()
    await again.stop()
    result = verify(tmp_path, public_keys=key)
    assert result.problems == ()
    assert [one.session for one in result.sessions if one.problem] == ["ses_hit"]
    assert len([one for one in result.sessions if one.sealed]) == 71


async def test_al_06_a_full_segment_removed_under_a_living_gateway(tmp_path: Path) -> None:
    """Nothing is synced to it any more, so the loss shows when its sessions are compiled: theirs alone."""
    recorder = Recorder(tmp_path, segment_bytes=20_000)
    hit = opened(recorder, "ses_hit")
    for _ in range(100):
        statement(hit)
        await recorder.sync()
    first = recorder.journal.segments[0]
    assert first in recorder.journal.sealed
    first.path.unlink()
    session(recorder, "ses_other")
    hit.close("over")
    await recorder.settle()
    assert list(recorder.storage.sessions()) == ["ses_other"]
    assert recorder.healthy
    await recorder.stop()
    result = verify(tmp_path)
    assert [one.session for one in result.sessions if one.problem] == ["ses_hit"]
    assert result.problems == ()


async def test_al_06_a_planted_session_is_not_signed_for(tmp_path: Path) -> None:
    """With write access and no key: a recording of headers alone, and a journal that names it."""
    recorder = Recorder(tmp_path)
    genuine = opened(recorder, "ses_genuine")
    statement(genuine)
    await recorder.checkpoint()
    recorder.journal.close()  # killed
    planted = chain.Chain(header("ses_planted"))
    headers = [
        planted.forge(kind, time.time_ns(), os.urandom(16) + b"{}")
        for kind in ("session_opened", "action", "result", "session_closed")
    ]
    block = zstandard.ZstdCompressor().compress(b"".join(len(one).to_bytes(2, "little") + one for one in headers))
    end = {"records": 4, "head": planted.head, "erased": "2026-01-01T00:00:00+00:00"}
    (month := tmp_path / "recordings" / "2026" / "01").mkdir(parents=True)
    (month / "ses_planted.tgr").write_bytes(MAGIC + frame(b"H" + block) + frame(b"E" + orjson.dumps(end)))
    (folder := tmp_path / "journal" / "gwp_planted").mkdir()
    first = len(headers[0]).to_bytes(2, "little") + headers[0] + os.urandom(40)
    (folder / "00000001.seg").write_bytes(frame(b"R" + first))
    for _ in range(2):
        again = Recorder(tmp_path)
        await again.start()
        session(again, f"ses_later_{again.process_id}")
        await again.stop()
    bodies = [Checkpoint.parse(line).body for line in read_checkpoints(recorder.checkpoints.path)]
    assert "ses_planted" not in {head.session for body in bodies for head in body.sessions}
    assert folder.exists()  # for a human to look at
    result = verify(tmp_path, public_keys=[recorder.signing_key.public])
    assert result.problems == ()
    assert [one.session for one in result.sessions if one.problem] == ["ses_planted"]
    assert len([one for one in result.sessions if one.sealed]) == 3
