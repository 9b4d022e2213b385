"""What verification says where checkpoints are known outside."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import orjson
import pytest

from taskgate.errors import ClientFault
from taskgate.recording.chain import Chain
from taskgate.recording.checkpoints import CheckpointLog, SessionHead
from taskgate.recording.export import export
from taskgate.recording.findings import ExitCode
from taskgate.recording.header import Record, SessionHeader
from taskgate.recording.keys import PublicKey, SigningKey
from taskgate.recording.recorder import Recorder
from taskgate.recording.recordings import Recordings
from taskgate.recording.records import RecordKind
from taskgate.recording.verify import verify
from tests.unit.recording.evidence import SESSIONS, edit, forged
from tests.unit.recording.samples import opened, session, statement


def test_a_rewritten_history(data_dir: Path, tmp_path: Path, key: PublicKey) -> None:
    """The machine's owner removes a session and signs everything anew with the true key: only outside it shows."""
    outside = tmp_path / "outside.jsonl"
    shutil.copy(data_dir / "checkpoints" / "checkpoints.jsonl", outside)
    kept = [json.loads(line)["body"] for line in outside.read_bytes().splitlines()]
    (data_dir / "checkpoints" / "checkpoints.jsonl").unlink()
    next((data_dir / "recordings").glob("*/*/ses_b.tgr")).unlink()
    log = CheckpointLog(data_dir, "gwp_x", SigningKey.at(data_dir / "keys" / "checkpoint.key"))
    for body in kept:
        log.append([SessionHead(**head) for head in body["sessions"] if head["session"] != "ses_b"])
    assert verify(data_dir, public_keys=[key]).ok
    result = verify(data_dir, public_keys=[key], outside=outside)
    assert result.first is not None
    assert result.first.place == "checkpoint 1"


def test_newer_checkpoints_outside_are_only_noted(folder: Path, data_dir: Path, key: PublicKey) -> None:
    """Those signed since the bundle was made."""
    outside = data_dir / "checkpoints" / "checkpoints.jsonl"
    log = CheckpointLog(data_dir, "gwp_x", SigningKey.at(data_dir / "keys" / "checkpoint.key"))
    log.append([], erased=["ses_q"])
    result = verify(folder, public_keys=[key], outside=outside)
    assert result.ok
    assert "1 newer checkpoints are known outside." in result.notes


def test_what_is_signed_while_a_bundle_is_made_is_newer_than_it(data_dir: Path, tmp_path: Path, key: PublicKey) -> None:
    """Exporting takes a while, and gateways go on."""
    log = CheckpointLog(data_dir, "gwp_x", SigningKey.at(data_dir / "keys" / "checkpoint.key"))

    class Living(Recordings):
        def read(self, session_id: str) -> Iterator[Record]:
            log.append([])
            return super().read(session_id)

    export(data_dir, tmp_path / "b", SESSIONS, recordings=Living(data_dir))
    result = verify(tmp_path / "b", public_keys=[key], outside=log.path)
    assert result.ok, result.first
    assert "2 newer checkpoints are known outside." in result.notes


@pytest.fixture
def outside(data_dir: Path, tmp_path: Path) -> Path:
    """What was pushed to a sink, before the folder was rolled back to its first session."""
    shutil.copy(data_dir / "checkpoints" / "checkpoints.jsonl", tmp_path / "outside.jsonl")
    return tmp_path / "outside.jsonl"


def roll_back(data_dir: Path) -> None:
    """Needs no key."""
    edit(data_dir / "checkpoints" / "checkpoints.jsonl", lambda lines: lines[:1])
    for name in ("ses_b", "ses_c"):
        next((data_dir / "recordings").glob(f"*/*/{name}.tgr")).unlink()


@pytest.fixture
def no_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskgate.recording.verify._MOMENT", 0.01)


@pytest.mark.usefixtures("no_moment")
def test_a_folder_rolled_back(data_dir: Path, key: PublicKey, outside: Path) -> None:
    assert verify(data_dir, public_keys=[key], outside=outside).exit_code == ExitCode.VERIFIED
    roll_back(data_dir)
    assert verify(data_dir, public_keys=[key]).ok  # nothing in it tells
    result = verify(data_dir, public_keys=[key], outside=outside)
    assert result.exit_code == ExitCode.BAD
    assert [str(problem) for problem in result.problems] == [
        "checkpoint 2: was pushed outside and is not here: the folder is in an earlier state than it has been"
    ]
    assert [(one.session, one.intact) for one in result.sessions] == [
        ("ses_a", True),
        ("ses_b", False),
        ("ses_c", False),
    ]
    alone = verify(data_dir, public_keys=[key], outside=outside, sessions=["ses_a"])
    assert alone.exit_code == ExitCode.BAD
    assert [one.intact for one in alone.sessions] == [True]


@pytest.mark.usefixtures("no_moment")
async def test_a_living_session_rolled_back(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "data")
    recording = opened(recorder)
    await recorder.checkpoint()
    shutil.copytree(recorder.data_dir, tmp_path / "before")
    statement(recording)
    await recorder.checkpoint()
    result = verify(tmp_path / "before", public_keys=[recorder.signing_key.public], outside=recorder.checkpoints.path)
    assert result.first is not None
    assert str(result.first) == (
        "session ses_1, record 1: is missing: checkpoint 2, known outside, signed for records up to 2"
    )
    await recorder.stop()


@pytest.mark.parametrize("everything", [True, False])
def test_a_bundle_of_a_folder_rolled_back(
    data_dir: Path, tmp_path: Path, key: PublicKey, outside: Path, everything: bool
) -> None:
    roll_back(data_dir)
    export(data_dir, tmp_path / "late.zip", None if everything else ["ses_a"])
    result = verify(tmp_path / "late.zip", public_keys=[key], outside=outside)
    assert result.exit_code == ExitCode.BAD
    assert [str(problem) for problem in result.problems] == [
        "checkpoint 2: was pushed outside before this bundle was made, and is not in it"
    ]
    missing = ["ses_b", "ses_c"] if everything else []
    assert [one.session for one in result.sessions if not one.intact] == missing


async def test_a_session_that_went_on_since_is_named(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "data")
    recording = opened(recorder)
    await recorder.checkpoint()
    export(recorder.data_dir, tmp_path / "b", None)
    statement(recording)
    session(recorder, "ses_2")
    await recorder.checkpoint()
    await recorder.stop()
    result = verify(tmp_path / "b", public_keys=[recorder.signing_key.public], outside=recorder.checkpoints.path)
    assert result.ok, result.first
    assert [one.goes_on for one in result.sessions] == [(3, 3)]
    assert "session ses_1 went on: checkpoint 3, known outside, signed up to record 3." in result.notes
    assert "not here, but known outside: session ses_2." in result.notes


async def test_records_beyond_the_last_checkpoint_are_held_against_the_next_one_outside(tmp_path: Path) -> None:
    """The tail of a living session is not signed for in the bundle: who makes the bundle could make it up."""
    recorder = Recorder(tmp_path / "data")
    recording = opened(recorder)
    await recorder.checkpoint()
    statement(recording)
    recorder.write()
    export(recorder.data_dir, tmp_path / "true", None)
    await recorder.checkpoint()
    keys = [recorder.signing_key.public]
    result = verify(tmp_path / "true", public_keys=keys, outside=recorder.checkpoints.path)
    assert result.ok, result.first
    lines = (tmp_path / "true" / "sessions" / "ses_1.jsonl").read_bytes().splitlines()
    header = orjson.loads(lines[2])["header"]
    invented = Chain(SessionHeader("ses_1", "policy-1", "target-digest"), next_seq=2, head=header["previous"])
    tail = invented.forge(RecordKind.EVENT, header["time"], b"s" * 16 + b"{}")
    made_up = b'{"header":%b,"salt":"%b","content":{}}' % (tail, b"73" * 16)
    file = b"".join(line + b"\n" for line in [*lines[:2], made_up])
    (tmp_path / "true" / "sessions" / "ses_1.jsonl").write_bytes(file)
    manifest = orjson.loads((tmp_path / "true" / "manifest.json").read_bytes())
    forged(
        tmp_path / "true",
        recorder.data_dir,
        {
            "sessions": [{"session": "ses_1", "records": 3, "head": sha256(tail).hexdigest()}],
            "files": manifest["files"] | {"sessions/ses_1.jsonl": sha256(file).hexdigest()},
        },
    )
    assert verify(tmp_path / "true", public_keys=keys).ok
    result = verify(tmp_path / "true", public_keys=keys, outside=recorder.checkpoints.path)
    assert str(result.first) == (
        "session ses_1, record 2: differs from what checkpoint 2 signed for (sessions/ses_1.jsonl)"
    )
    await recorder.stop()


def test_an_end_that_was_none(data_dir: Path, folder: Path, key: PublicKey) -> None:
    """Closed here, and longer outside, whenever that was signed."""
    log = CheckpointLog(data_dir, "gwp_x", SigningKey.at(data_dir / "keys" / "checkpoint.key"))
    log.append([SessionHead("ses_a", 12, "a" * 64, "closed")])
    result = verify(folder, public_keys=[key], outside=log.path)
    assert result.first is not None
    assert result.first.message == "is missing: checkpoint 4, known outside, signed for records up to 12"


@pytest.mark.parametrize("content", [None, b""])
def test_an_outside_without_checkpoints_proves_nothing(
    data_dir: Path, folder: Path, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "outside").write_bytes(content)
    for place in (data_dir, folder):
        with pytest.raises(ClientFault, match="outside"):
            verify(place, outside=tmp_path / "outside")
