from __future__ import annotations

import errno
import os
import threading
from hashlib import sha256
from pathlib import Path

import orjson
import pytest

from taskgate.errors import JournalFault
from taskgate.recording.checkpoints import (
    Body,
    Checkpoint,
    CheckpointLog,
    Recovered,
    SessionHead,
    Shortened,
    read_checkpoints,
    wait_for_append,
)
from taskgate.recording.keys import SigningKey

HEAD = SessionHead("ses_1", 4, "a" * 64, "open")


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.at(tmp_path / "keys" / "checkpoint.key")


@pytest.fixture
def log(tmp_path: Path, key: SigningKey) -> CheckpointLog:
    return CheckpointLog(tmp_path, "gwp_1", key)


def test_numbers_hashes_signatures(log: CheckpointLog, key: SigningKey, tmp_path: Path) -> None:
    log.append([HEAD])
    log.append([], recovered=[Recovered("gwp_0", 2, 17, (Shortened("ses_9", 3, 7),))], erased=["ses_0"])
    first, second = (Checkpoint.parse(line) for line in read_checkpoints(log.path))
    assert (first.body.sequence, first.body.previous) == (1, "0" * 64)
    assert (second.body.sequence, second.body.previous) == (2, sha256(first.line).hexdigest())
    assert first.body.sessions == (HEAD,)
    assert second.body.recovered == (Recovered("gwp_0", 2, 17, (Shortened("ses_9", 3, 7),)),)
    assert second.body.erased == ("ses_0",)
    assert first.signed_by([key.public])
    assert not first.signed_by([SigningKey.at(tmp_path / "other.key").public])


def test_all_processes_with_a_journal_are_listed(log: CheckpointLog, tmp_path: Path, key: SigningKey) -> None:
    for name in ("gwp_1", "gwp_2"):
        (tmp_path / "journal" / name).mkdir(parents=True)
    other = CheckpointLog(tmp_path, "gwp_2", key)
    assert log.append([HEAD]).body.processes == {"gwp_1": 1, "gwp_2": 0}
    assert other.append([HEAD]).body.processes == {"gwp_1": 1, "gwp_2": 2}
    assert log.append([HEAD]).body.processes == {"gwp_1": 3, "gwp_2": 2}


def test_a_half_written_line_is_cut_off(log: CheckpointLog, tmp_path: Path, key: SigningKey) -> None:
    log.append([HEAD])
    with log.path.open("ab") as file:
        file.write(b'{"body":{"seque')
    assert len(list(read_checkpoints(log.path))) == 1
    CheckpointLog(tmp_path, "gwp_2", key).append([HEAD])
    assert [Checkpoint.parse(line).body.sequence for line in read_checkpoints(log.path)] == [1, 2]


def test_a_shortened_file_is_not_gone_on_with(log: CheckpointLog) -> None:
    log.append([HEAD])
    log.append([HEAD])
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(lines[0])
    with pytest.raises(JournalFault, match="shorter"):
        log.append([HEAD])


def test_nothing_is_built_on_a_line_that_is_no_checkpoint(log: CheckpointLog) -> None:
    log.append([HEAD])
    with log.path.open("ab") as file:
        file.write(b"hello\n")
    with pytest.raises(JournalFault, match="not a checkpoint"):
        log.append([HEAD])


def test_a_failed_write_is_taken_back(log: CheckpointLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append([HEAD])
    before = log.path.read_bytes()
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) < 60:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data[:50])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(JournalFault, match="No space"):
        log.append([HEAD])
    assert log.path.read_bytes() == before
    monkeypatch.undo()
    assert log.append([HEAD]).body.sequence == 2


@pytest.mark.parametrize(
    "line",
    [b"", b"{}", b"[]", b'{"body":{},"key":"","signature":""}', b'{"body":{"sequence":1},"key":"k","signature":"s"}'],
)
def test_what_is_no_checkpoint(line: bytes) -> None:
    with pytest.raises(ValueError):
        Checkpoint.parse(line)


def test_one_form_only(log: CheckpointLog) -> None:
    line = log.append([HEAD]).line
    for other in (line + b" ", line.replace(b'":', b'": ', 1), orjson.dumps(orjson.loads(line) | {"more": 1})):
        with pytest.raises(ValueError):
            Checkpoint.parse(other)


def test_what_was_signed_before_sessions_could_be_called_short_still_reads() -> None:
    recovered = {"process": "gwp_0", "sessions": 2, "lost_bytes": 17}
    assert Recovered.parse(recovered) == Recovered("gwp_0", 2, 17)
    for strange in ([], 7, recovered | {"short": [1]}, recovered | {"short": 1}, recovered | {"more": 1}):
        with pytest.raises(TypeError):
            Recovered.parse(strange)


def test_what_is_being_appended_is_waited_for(tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time was taken already: whoever reads the clock and then waits finds everything older in the file."""
    log = CheckpointLog(tmp_path, "gwp_1", key)
    wait_for_append(log.path)  # no file, nothing to wait for
    dated, go_on = threading.Event(), threading.Event()
    sign = log._signed

    def slowly(body: Body) -> Checkpoint:
        dated.set()
        assert go_on.wait(10)
        return sign(body)

    monkeypatch.setattr(log, "_signed", slowly)
    appending = threading.Thread(target=log.append, args=([HEAD],))
    appending.start()
    assert dated.wait(10)
    waiting = threading.Thread(target=wait_for_append, args=(log.path,))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    go_on.set()
    waiting.join(10)
    assert len(list(read_checkpoints(log.path))) == 1
    appending.join(10)
