from __future__ import annotations

import errno
from pathlib import Path

import pytest

from taskgate.errors import JournalFault
from taskgate.recording.framing import FrameReader, frame
from taskgate.recording.journal import Journal, discard
from taskgate.recording.journal_reader import segments
from taskgate.recording.segment import Segment
from tests.unit.recording.faulty_disk import FaultyDisk


class Owner:
    def __init__(self) -> None:
        self.places: dict[int, tuple[Segment, int]] = {}

    def durable(self, segment: Segment, offset: int, seq: int) -> None:
        self.places[seq] = (segment, offset)


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


@pytest.fixture
def journal(tmp_path: Path, disk: FaultyDisk) -> Journal:
    return Journal(tmp_path, "gwp_1", disk=disk, segment_bytes=400)


@pytest.fixture
def owner() -> Owner:
    return Owner()


def add(journal: Journal, owner: Owner, *numbers: int) -> None:
    journal.add([(owner, number, frame(b"R%03d" % number)) for number in numbers])


def sync(journal: Journal) -> None:
    job = journal.start_sync()
    job.run()
    journal.finish_sync(job)


def on_disk(journal: Journal) -> list[bytes]:
    found = []
    for path in sorted(journal.folder.glob("*.seg")):
        with path.open("rb") as file:
            found += [one.payload for one in FrameReader(file) if one.payload[:1] == b"R"]
    return found


def test_one_write_for_everything_added(journal: Journal, disk: FaultyDisk, owner: Owner) -> None:
    add(journal, owner, *range(5))
    journal.write()
    journal.write()
    assert disk.writes == 1
    assert on_disk(journal) == [b"R%03d" % number for number in range(5)]
    assert owner.places == {}  # in the operating system, not durable
    sync(journal)
    assert sorted(owner.places) == list(range(5))
    assert not journal.pending
    assert journal.unsettled_bytes == 0


def test_places_are_where_the_frames_are(journal: Journal, owner: Owner) -> None:
    for start in range(0, 120, 4):
        add(journal, owner, *range(start, start + 4))
        journal.write()
    sync(journal)
    assert len(journal.segments) > 3
    for number, (segment, offset) in owner.places.items():
        data = segment.path.read_bytes()
        assert data[offset + 8 : offset + 12] == b"R%03d" % number


def test_a_full_disk_refuses_and_loses_nothing(journal: Journal, disk: FaultyDisk, owner: Owner) -> None:
    add(journal, owner, 0)
    journal.write()
    disk.room = 10
    add(journal, owner, 1, 2)
    for _ in range(3):
        with pytest.raises(JournalFault, match="No space left"):
            journal.write()
        assert journal.fault is not None
    assert on_disk(journal) == [b"R000"]
    add(journal, owner, 3)
    disk.room = None
    journal.write()
    assert journal.fault is None
    assert on_disk(journal) == [b"R000", b"R001", b"R002", b"R003"]


def test_a_segment_that_keeps_a_half_is_left_behind(journal: Journal, disk: FaultyDisk, owner: Owner) -> None:
    add(journal, owner, 0)
    journal.write()
    disk.room, disk.truncate_error = 20, errno.EIO
    add(journal, owner, 1, 2)
    with pytest.raises(JournalFault):
        journal.write()
    disk.room = disk.truncate_error = None
    journal.write()
    assert len(journal.segments) == 2
    assert on_disk(journal) == [b"R000", b"R001", b"R001", b"R002"]  # readers drop the double
    sync(journal)
    assert owner.places[1][0] is journal.segments[1]


def test_no_new_segment_no_record(journal: Journal, disk: FaultyDisk, owner: Owner) -> None:
    disk.create_error = errno.EROFS
    add(journal, owner, 0)
    with pytest.raises(JournalFault, match="Read-only"):
        journal.write()
    disk.create_error = None
    journal.write()
    assert on_disk(journal) == [b"R000"]


def test_a_failed_fsync_is_never_believed_again(journal: Journal, disk: FaultyDisk, owner: Owner) -> None:
    add(journal, owner, 0)
    journal.write()
    sync(journal)
    add(journal, owner, 1)
    journal.write()
    disk.sync_error = errno.EIO
    with pytest.raises(JournalFault, match="synced"):
        sync(journal)
    disk.sync_error = None
    add(journal, owner, 2)
    with pytest.raises(JournalFault):
        journal.write()  # nothing goes on before one sync has succeeded
    journal.write(repair=True)
    assert journal.fault is not None
    sync(journal)
    assert journal.fault is None
    first, second = journal.segments
    assert not first.trusted
    assert not first.open
    assert owner.places[0][0] is first
    assert owner.places[1][0] is second
    assert owner.places[2][0] is second


def test_what_was_written_during_a_failing_fsync_is_written_again_too(
    journal: Journal, disk: FaultyDisk, owner: Owner
) -> None:
    add(journal, owner, 1)
    journal.write()
    job = journal.start_sync()
    add(journal, owner, 2)
    journal.write()
    disk.sync_error = errno.EIO
    job.run()
    with pytest.raises(JournalFault):
        journal.finish_sync(job)
    disk.sync_error = None
    journal.write(repair=True)
    sync(journal)
    assert {owner.places[1][0], owner.places[2][0]} == {journal.segments[1]}


def test_a_sync_covers_only_what_it_began_with(journal: Journal, owner: Owner) -> None:
    add(journal, owner, 1)
    journal.write()
    job = journal.start_sync()
    add(journal, owner, 2)
    journal.write()
    job.run()
    journal.finish_sync(job)
    assert sorted(owner.places) == [1]
    assert journal.pending


def test_a_full_segment_is_closed_once_it_is_durable(journal: Journal, owner: Owner) -> None:
    for number in range(60):
        add(journal, owner, number)
        journal.write()
    assert journal.sealed == []
    sync(journal)
    assert journal.sealed == journal.segments[:-1]
    journal.remove(journal.sealed[0])
    assert len(list(journal.folder.glob("*.seg"))) == len(journal.segments)


def test_a_folder_has_one_writer(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        Journal(tmp_path, "gwp_1")
    journal.close()
    discard(journal.folder)
    assert list(tmp_path.iterdir()) == []


def test_what_went_into_a_removed_segment_is_written_again(journal: Journal, owner: Owner) -> None:
    add(journal, owner, 1)
    journal.write()
    sync(journal)
    journal.segments[0].path.unlink()
    add(journal, owner, 2)
    journal.write()
    with pytest.raises(JournalFault, match="removed"):
        sync(journal)
    assert sorted(owner.places) == [1]
    with pytest.raises(JournalFault):
        journal.write()
    journal.write(repair=True)
    sync(journal)
    assert journal.fault is None
    assert on_disk(journal) == [b"R002"]
    assert owner.places[2][0] is journal.segments[1]


def test_a_folder_that_goes_while_it_is_listed_has_no_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(folder: Path, pattern: str) -> list[Path]:
        raise FileNotFoundError(folder, pattern)

    monkeypatch.setattr(Path, "glob", gone)
    assert segments(tmp_path) == []
