from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
import zstandard

from taskgate.errors import GatewayFault
from taskgate.recording import recording_file
from taskgate.recording.chain import MAX_PREFIX, Chain, ChainChecker
from taskgate.recording.framing import FrameReader, frame
from taskgate.recording.header import SessionHeader
from taskgate.recording.keys import LocalKeyWrapper
from taskgate.recording.recording_file import MAGIC, RecordingReader, RecordingWriter, erase, progress
from taskgate.recording.records import RecordKind
from taskgate.recording.session_key import SessionKey

COUNT = 200


@pytest.fixture
def wrapper(tmp_path: Path) -> LocalKeyWrapper:
    return LocalKeyWrapper(tmp_path / "key")


@pytest.fixture
def key(wrapper: LocalKeyWrapper) -> SessionKey:
    return SessionKey.new("ses_1", "gwp_1", wrapper)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_file, "BLOCK_BYTES", 4096)


def material(count: int = COUNT) -> list[tuple[bytes, bytes]]:
    chain = Chain(SessionHeader("ses_1", "p", "t"))
    made = []
    for number in range(count):
        plaintext = b"s" * 16 + b'{"text":"select secret %d"}' % number
        kind = RecordKind.SESSION_OPENED if number == 0 else RecordKind.EVENT
        made.append((chain.forge(kind, number, plaintext), plaintext))
    return made


def write(path: Path, key: SessionKey, *, finish: bool = True) -> None:
    writer = RecordingWriter(path, key)
    for header, plaintext in material()[writer.next_seq :]:
        writer.add(header, plaintext)
    if finish:
        writer.finish()
    else:
        writer.save()
        writer.close()


def read(path: Path, wrapper: LocalKeyWrapper | None) -> list[tuple[bytes, bytes | None]]:
    with path.open("rb") as file:
        records = list(RecordingReader(file, wrapper))
    return [(one.header.raw, one.salt + one.raw_content if one.salt and one.raw_content else None) for one in records]


def test_records_come_back(tmp_path: Path, key: SessionKey, wrapper: LocalKeyWrapper) -> None:
    write(tmp_path / "r", key)
    assert read(tmp_path / "r", wrapper) == material()
    with (tmp_path / "r").open("rb") as file:
        done = progress(file)
    assert (done.next_seq, done.finished, done.erased) == (COUNT, True, None)
    assert (tmp_path / "r").stat().st_mode & 0o777 == 0o600


def test_nothing_is_in_clear(tmp_path: Path, key: SessionKey) -> None:
    write(tmp_path / "r", key)
    assert b"secret" not in (tmp_path / "r").read_bytes()


def test_headers_alone_need_no_key(tmp_path: Path, key: SessionKey) -> None:
    write(tmp_path / "r", key)
    assert read(tmp_path / "r", None) == [(header, None) for header, _ in material()]


def test_another_key_opens_nothing(tmp_path: Path, key: SessionKey) -> None:
    write(tmp_path / "r", key)
    with pytest.raises(GatewayFault, match="does not open"):
        read(tmp_path / "r", LocalKeyWrapper(tmp_path / "other"))


def test_a_recording_cut_anywhere_is_gone_on_with(tmp_path: Path, key: SessionKey, wrapper: LocalKeyWrapper) -> None:
    write(tmp_path / "r", key)
    whole = (tmp_path / "r").read_bytes()
    for cut in range(0, len(whole), 211):
        (tmp_path / "cut").write_bytes(whole[:cut])
        write(tmp_path / "cut", key)
        assert read(tmp_path / "cut", wrapper) == material()


def test_an_unfinished_one_can_be_read(tmp_path: Path, key: SessionKey, wrapper: LocalKeyWrapper) -> None:
    write(tmp_path / "r", key, finish=False)
    assert read(tmp_path / "r", wrapper) == material()
    write(tmp_path / "r", key)
    assert read(tmp_path / "r", wrapper) == material()


def test_every_flipped_byte_is_noticed(tmp_path: Path, key: SessionKey, wrapper: LocalKeyWrapper) -> None:
    """By the reader, or because records are missing at the end (which checkpoints tell)."""
    write(tmp_path / "r", key)
    whole = (tmp_path / "r").read_bytes()
    for position in range(0, len(whole), 53):
        flipped = bytearray(whole)
        flipped[position] ^= 0x10
        (tmp_path / "flipped").write_bytes(flipped)
        try:
            got = read(tmp_path / "flipped", wrapper)
        except (GatewayFault, ValueError, KeyError):
            continue
        with (tmp_path / "flipped").open("rb") as file:
            assert not progress(file).finished or len(got) < COUNT or any(plain is None for _, plain in got), position


def test_erasing_leaves_a_chain_that_holds(tmp_path: Path, key: SessionKey, wrapper: LocalKeyWrapper) -> None:
    write(tmp_path / "r", key)
    erased = BytesIO()
    with (tmp_path / "r").open("rb") as file:
        erase(file, erased, "2026-11-23T10:00:00+00:00")
    assert key.wrapped.hex().encode() not in erased.getvalue()
    checker = ChainChecker("ses_1")
    for record in RecordingReader(erased, wrapper):
        assert record.content is None
        checker.check(record)
    done = progress(erased)
    assert checker.next_seq == done.next_seq == COUNT
    assert done.erased == "2026-11-23T10:00:00+00:00"
    assert done.head == checker.head


def test_a_finished_one_has_an_end(tmp_path: Path, key: SessionKey, wrapper: LocalKeyWrapper) -> None:
    write(tmp_path / "r", key, finish=False)
    with (tmp_path / "r").open("rb") as file, pytest.raises(GatewayFault, match="cut short"):
        list(RecordingReader(file, wrapper, finished=True))


def test_not_a_recording(tmp_path: Path, wrapper: LocalKeyWrapper) -> None:
    with pytest.raises(GatewayFault, match="not a recording"):
        RecordingReader(BytesIO(b"PK\3\4"), wrapper)


def test_something_behind_the_end(tmp_path: Path, key: SessionKey, wrapper: LocalKeyWrapper) -> None:
    write(tmp_path / "r", key)
    with (tmp_path / "r").open("ab") as file:
        file.write(b"more")
    with pytest.raises(GatewayFault, match="after its end"):
        read(tmp_path / "r", wrapper)


# --- what a hostile hand writes ----------------------------------------------------------------------------------


def payloads(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return [one.payload for one in FrameReader(file, len(MAGIC))]


def file_of(*frames: bytes) -> BytesIO:
    return BytesIO(MAGIC + b"".join(map(frame, frames)))


@pytest.mark.parametrize("rubbish", [b"{}", b"1", b"[]", b"not json", b'{"session":"ses_1","wrapped":"zz"}'])
def test_a_key_that_is_none(tmp_path: Path, key: SessionKey, wrapper: LocalKeyWrapper, rubbish: bytes) -> None:
    write(tmp_path / "r", key)
    file = file_of(b"K" + rubbish, *payloads(tmp_path / "r")[1:])
    with pytest.raises(GatewayFault, match="not described|damaged"):
        list(RecordingReader(file, wrapper))


@pytest.mark.parametrize("rubbish", [b"1", b"[]", b"not json"])
def test_an_end_that_is_none(tmp_path: Path, key: SessionKey, rubbish: bytes) -> None:
    write(tmp_path / "r", key)
    file = file_of(*payloads(tmp_path / "r")[:-1], b"E" + rubbish)
    with pytest.raises(GatewayFault, match="damaged"):
        progress(file)
    with pytest.raises(GatewayFault, match="damaged"):
        erase(file, BytesIO(), "2026-11-23T10:00:00+00:00")


def test_a_few_bytes_never_become_gigabytes(key: SessionKey, wrapper: LocalKeyWrapper) -> None:
    compressor = zstandard.ZstdCompressor(level=1)
    honest = compressor.compress(bytes(1 << 21))
    lying = honest[:6] + (1000).to_bytes(4, "little") + honest[10:]  # RFC 8878, 3.1.1.1: the frame's content size
    assert zstandard.frame_content_size(lying) == 1000
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 21))
    for bomb in (honest, lying, silent):
        for wanted in (wrapper, None):
            with pytest.raises(GatewayFault, match="impossible size|damaged"):
                list(RecordingReader(file_of(b"K" + key.describe(), b"H" + bomb), wanted))


def test_blocks_as_large_as_a_gateway_makes_them(
    tmp_path: Path, key: SessionKey, wrapper: LocalKeyWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but headers, as long as they get; then a content far larger than a block."""
    monkeypatch.undo()
    chain = Chain(SessionHeader("ses_1", "p" * (MAX_PREFIX - 60), "t"))
    made = []
    for number in range(100):
        plaintext = b"s" * 16 + (b"{}" if number < 90 else b'"%b"' % (b"x" * 3_000_000))
        kind = RecordKind.SESSION_OPENED if number == 0 else RecordKind.EVENT
        made.append((chain.forge(kind, number, plaintext), plaintext))
    writer = RecordingWriter(tmp_path / "r", key)
    for header, plaintext in made:
        writer.add(header, plaintext)
    writer.finish()
    assert read(tmp_path / "r", wrapper) == made
