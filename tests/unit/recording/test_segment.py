from __future__ import annotations

import errno
from pathlib import Path

import pytest

from taskgate.recording.segment import Segment
from tests.unit.recording.faulty_disk import FaultyDisk


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


@pytest.fixture
def segment(tmp_path: Path, disk: FaultyDisk) -> Segment:
    return Segment(1, tmp_path / "1.seg", disk)


def test_short_writes_are_completed(segment: Segment, disk: FaultyDisk) -> None:
    disk.chunk = 3
    assert segment.append(b"0123456789") == 0
    assert segment.append(b"ab") == 10
    assert segment.path.read_bytes() == b"0123456789ab"
    assert disk.writes == 5


def test_a_half_written_piece_is_taken_back(segment: Segment, disk: FaultyDisk) -> None:
    segment.append(b"whole")
    disk.room = 3
    with pytest.raises(OSError, match="space"):
        segment.append(b"does not fit")
    assert segment.path.read_bytes() == b"whole"
    assert segment.trusted
    disk.room = None
    assert segment.append(b"fits") == 5
    assert segment.path.read_bytes() == b"wholefits"


def test_what_cannot_be_taken_back_is_given_up(segment: Segment, disk: FaultyDisk) -> None:
    disk.room, disk.truncate_error = 3, errno.EIO
    with pytest.raises(OSError, match="space"):
        segment.append(b"does not fit")
    assert not segment.trusted


def test_a_write_that_takes_nothing_is_an_error(segment: Segment, disk: FaultyDisk) -> None:
    disk.chunk = 0
    with pytest.raises(OSError, match="Input/output"):
        segment.append(b"x")


def test_a_signal_handler_that_raises_leaves_no_half(segment: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def interrupted(descriptor: int, data: memoryview) -> int:
        calls.append(len(data))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return FaultyDisk().write(descriptor, data[:2])

    monkeypatch.setattr(segment._disk, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        segment.append(b"abcdef")
    assert segment.path.read_bytes() == b""


def test_a_closed_segment_takes_nothing(segment: Segment) -> None:
    segment.close()
    segment.close()
    with pytest.raises(OSError):
        segment.append(b"x")
    assert not segment.open


def test_a_sync_of_a_removed_file_fails(tmp_path: Path) -> None:
    segment = Segment(1, tmp_path / "00000001.seg", FaultyDisk())
    segment.append(b"one")
    segment.sync()
    segment.path.unlink()
    segment.append(b"two")
    with pytest.raises(FileNotFoundError, match="removed"):
        segment.sync()
