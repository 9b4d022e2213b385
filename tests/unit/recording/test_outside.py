from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from taskgate.errors import ClientFault
from taskgate.recording.checkpoints import CheckpointLog, SessionHead, read_checkpoints
from taskgate.recording.keys import SigningKey
from taskgate.recording.outside import ALWAYS_DUE, Newer, OutsideCheckpoints
from taskgate.recording.signed_history import SignedHistory


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.at(tmp_path / "keys" / "checkpoint.key")


def head(session: str, seq: int, state: str = "open") -> SessionHead:
    return SessionHead(session, seq, f"{seq}" * 64, state)


@pytest.fixture
def lines(tmp_path: Path, key: SigningKey) -> list[bytes]:
    log = CheckpointLog(tmp_path, "gwp_1", key)
    log.append([head("ses_a", 2)])
    log.append([head("ses_a", 5, "closed"), head("ses_b", 1)])
    log.append([head("ses_b", 3)])
    return list(read_checkpoints(log.path))


def outside(tmp_path: Path, content: bytes) -> OutsideCheckpoints:
    (tmp_path / "outside.jsonl").write_bytes(content)
    return OutsideCheckpoints(tmp_path / "outside.jsonl")


def compared(tmp_path: Path, key: SigningKey, here: list[bytes], there: list[bytes], made: int = ALWAYS_DUE) -> Newer:
    history = SignedHistory.of(here, [key.public])
    return outside(tmp_path, b"".join(line + b"\n" for line in there)).beyond(history, [key.public], made=made)


def test_the_same_is_nothing_new(tmp_path: Path, key: SigningKey, lines: list[bytes]) -> None:
    for there in (lines, lines[:1], lines[1:], [lines[0], *lines]):  # a sink may begin late, miss some, have some twice
        assert compared(tmp_path, key, lines, there) == Newer()


def test_what_is_newer(tmp_path: Path, key: SigningKey, lines: list[bytes]) -> None:
    newer = compared(tmp_path, key, lines[:1], lines)
    assert (newer.count, newer.first_due, newer.problem) == (2, 2, None)
    assert newer.due == {"ses_a": (5, 2), "ses_b": (3, 3)}
    assert newer.last("ses_b") == (3, 3)
    assert newer.last("ses_c") == (-1, 0)
    assert compared(tmp_path, key, [], lines).count == 3


def test_what_was_signed_later_than_the_evidence_was_made_is_not_due(
    tmp_path: Path, key: SigningKey, lines: list[bytes]
) -> None:
    newer = compared(tmp_path, key, lines[:1], lines, made=0)
    assert (newer.count, newer.first_due, newer.due) == (2, None, {})
    assert newer.last("ses_a") == (5, 2)


def test_what_contradicts(tmp_path: Path, key: SigningKey, lines: list[bytes]) -> None:
    log = CheckpointLog(tmp_path / "again", "gwp_1", key)
    for one in ([head("ses_a", 2)], [head("ses_a", 4)], []):
        log.append(one)
    others = list(read_checkpoints(log.path))
    for there in (others, others[1:], others[1:2]):
        problem = compared(tmp_path, key, lines, there).problem
        assert problem is not None
        assert "differs" in problem.message
    problem = compared(tmp_path, key, lines[:1], others[1:]).problem  # the sink saw nothing of what is here
    assert str(problem) == "checkpoint 2: was pushed outside, and does not follow the last one here"


def test_a_newer_one_has_to_be_signed(tmp_path: Path, key: SigningKey, lines: list[bytes]) -> None:
    forged = lines[1].replace(b'"seq":5', b'"seq":6')
    problem = compared(tmp_path, key, lines[:1], [forged]).problem
    assert problem is not None
    assert "signed by another key" in problem.message


def test_behind_damage_nothing_is_newer(tmp_path: Path, key: SigningKey, lines: list[bytes]) -> None:
    assert compared(tmp_path, key, [lines[0], b"x", lines[2]], lines) == Newer()


@pytest.mark.parametrize("rubbish", [b"hello\n", b"\n", b'{"body":{"sequence":0}}\n'])
def test_what_is_no_checkpoint(tmp_path: Path, key: SigningKey, lines: list[bytes], rubbish: bytes) -> None:
    history = SignedHistory.of(lines, [key.public])
    problem = outside(tmp_path, rubbish).beyond(history, [key.public], made=0).problem
    assert str(problem) == "outside checkpoints: not a checkpoint as a gateway writes it"


def test_the_last_line_may_be_without_an_end(tmp_path: Path, key: SigningKey, lines: list[bytes]) -> None:
    history = SignedHistory.of(lines[:1], [key.public])
    assert outside(tmp_path, b"\n".join(lines[:2])).beyond(history, [key.public], made=0).count == 1
    assert outside(tmp_path, b"\n".join(lines[:2])[:-9]).beyond(history, [key.public], made=0).count == 0


@pytest.mark.parametrize("content", [b"", b'{"body":{"seq'])
def test_nothing_there(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ClientFault, match="no checkpoints in"):
        outside(tmp_path, content)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(ClientFault, match="cannot be read"):
            OutsideCheckpoints(path)


def test_a_pipe(tmp_path: Path, key: SigningKey, lines: list[bytes]) -> None:
    """As a shell makes it of the command that fetches them."""
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(b"\n".join(lines) + b"\n",))
    writer.start()
    fetched = OutsideCheckpoints(tmp_path / "pipe")
    writer.join(10)
    for count in (0, 1, 2):
        history = SignedHistory.of(lines[:count], [key.public])
        assert fetched.beyond(history, [key.public], made=0).count == 3 - count
    fetched.close()
