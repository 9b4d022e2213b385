"""What is signed for after its process has died, and what is not."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest
import zstandard

from taskgate.errors import GatewayFault
from taskgate.recording.chain import Chain
from taskgate.recording.checkpoints import SessionHead, Shortened
from taskgate.recording.framing import FrameReader, frame
from taskgate.recording.read_back import head_to_sign
from taskgate.recording.recorder import Recorder
from taskgate.recording.recording_file import MAGIC, erase
from taskgate.recording.records import RecordKind
from taskgate.recording.signed_heads import SignedHeads
from tests.unit.recording.samples import header, session

KINDS = (RecordKind.SESSION_OPENED, RecordKind.ACTION, RecordKind.RESULT, RecordKind.SESSION_CLOSED)
NOTHING = SignedHeads()


@pytest.fixture
async def recorder(tmp_path: Path) -> Recorder:
    """Stopped, with a finished session `ses_1`."""
    recorder = Recorder(tmp_path)
    session(recorder, statements=1)
    await recorder.stop()
    return recorder


def recording(recorder: Recorder, session_id: str = "ses_1") -> Path:
    return next(recorder.data_dir.glob(f"recordings/[0-9]*/*/{session_id}.tgr"))


def judge(recorder: Recorder, path: Path, session_id: str = "ses_1", signed: SignedHeads = NOTHING) -> object:
    with path.open("rb") as file:
        return head_to_sign(file, session_id, recorder.wrapper, signed)


def frames(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return [one.payload for one in FrameReader(file, len(MAGIC))]


def write(path: Path, *payloads: bytes) -> Path:
    path.write_bytes(MAGIC + b"".join(map(frame, payloads)))
    return path


def forged(session_id: str, kinds: tuple[RecordKind, ...] = KINDS) -> tuple[bytes, bytes]:
    """`H` and `E` of a session that never was, made without any key."""
    chain = Chain(header(session_id))
    headers = [chain.forge(kind, 10**18, os.urandom(16) + b"{}") for kind in kinds]
    block = zstandard.ZstdCompressor().compress(b"".join(len(one).to_bytes(2, "little") + one for one in headers))
    return b"H" + block, b"E" + orjson.dumps({"records": len(kinds), "head": chain.head, "erased": None})


def test_what_a_gateway_has_written(recorder: Recorder) -> None:
    head = judge(recorder, recording(recorder))
    assert isinstance(head, SessionHead)
    assert (head.session, head.seq, head.state) == ("ses_1", 4, "closed")
    assert judge(recorder, recording(recorder), signed=SignedHeads({4: head})) == head


def test_less_than_was_signed_for(recorder: Recorder) -> None:
    signed = SignedHeads({7: SessionHead("ses_1", 7, "aa", "open")})
    assert judge(recorder, recording(recorder), signed=signed) == Shortened("ses_1", 5, 8)


def test_other_than_was_signed_for(recorder: Recorder) -> None:
    for seq in (0, 4):
        with pytest.raises(GatewayFault, match=f"record {seq} differs"):
            judge(recorder, recording(recorder), signed=SignedHeads({seq: SessionHead("ses_1", seq, "aa", "open")}))


def test_headers_alone(recorder: Recorder, tmp_path: Path) -> None:
    with pytest.raises(GatewayFault, match="lacks content"):
        judge(recorder, write(tmp_path / "planted", *forged("ses_1")))


def test_headers_with_the_sessions_own_wrapped_key(recorder: Recorder, tmp_path: Path) -> None:
    key = frames(recording(recorder))[0]
    assert key[:1] == b"K"
    with pytest.raises(GatewayFault, match="lacks content"):
        judge(recorder, write(tmp_path / "planted", key, *forged("ses_1")))


def test_a_wrapped_key_that_is_none(recorder: Recorder, tmp_path: Path) -> None:
    described = {"session": "ses_1", "process": "gwp_x", "key_id": "k", "wrapped": os.urandom(60).hex()}
    with pytest.raises(GatewayFault, match="does not open"):
        judge(recorder, write(tmp_path / "planted", b"K" + orjson.dumps(described), *forged("ses_1")))


def test_another_sessions_key_and_contents(recorder: Recorder, tmp_path: Path) -> None:
    """Everything in it is genuine but the headers, which commit to contents that they were not made for."""
    key, headers, contents, end = frames(recording(recorder))
    planted = write(tmp_path / "planted", key, headers, contents, end)
    assert isinstance(judge(recorder, planted), SessionHead)
    with pytest.raises(GatewayFault, match="key of another session"):
        judge(recorder, planted, "ses_2")
    renamed = orjson.dumps(orjson.loads(key[1:]) | {"session": "ses_2"})
    with pytest.raises(GatewayFault, match="does not open"):
        judge(recorder, write(planted, b"K" + renamed, headers, contents, end), "ses_2")
    with pytest.raises(GatewayFault, match="belongs to another session"):
        judge(recorder, write(planted, headers, contents, end), "ses_2")


def test_forged_headers_over_genuine_contents(recorder: Recorder, tmp_path: Path) -> None:
    key, _, contents, end = frames(recording(recorder))
    headers, _ = forged("ses_1", (*KINDS[:3], RecordKind.EVENT, KINDS[3]))
    with pytest.raises(GatewayFault, match="content differs"):
        judge(recorder, write(tmp_path / "planted", key, headers, contents, end))


def test_no_end(recorder: Recorder, tmp_path: Path) -> None:
    with pytest.raises(GatewayFault, match="no end"):
        judge(recorder, write(tmp_path / "planted", *forged("ses_1", KINDS[:3])))
    with pytest.raises(GatewayFault, match="cut short"):
        judge(recorder, write(tmp_path / "planted", *frames(recording(recorder))[:-1]))


def test_erased_content_is_believed_where_the_end_was_signed_for(recorder: Recorder, tmp_path: Path) -> None:
    whole = judge(recorder, recording(recorder))
    assert isinstance(whole, SessionHead)
    bare = tmp_path / "bare"
    with recording(recorder).open("rb") as source, bare.open("wb") as target:
        erase(source, target, "2026-01-01T00:00:00+00:00")
    assert judge(recorder, bare, signed=SignedHeads({4: whole})) == whole
    for signed in (NOTHING, SignedHeads({4: SessionHead("ses_1", 4, whole.head, "open")})):
        with pytest.raises(GatewayFault, match="lacks content"):
            judge(recorder, bare, signed=signed)


@pytest.mark.parametrize("content", [b"", b"x", MAGIC + frame(b"K[]"), MAGIC + frame(b"K{}"), MAGIC + frame(b"E{}")])
def test_what_is_no_recording(recorder: Recorder, tmp_path: Path, content: bytes) -> None:
    planted = tmp_path / "planted"
    planted.write_bytes(content)
    with pytest.raises((GatewayFault, ValueError, TypeError, KeyError)):
        judge(recorder, planted)
