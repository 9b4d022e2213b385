"""What a forger might do to evidence, and what verification says of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

import orjson
import pytest

from taskgate.errors import ClientFault, GatewayFault
from taskgate.recording.export import export
from taskgate.recording.findings import ExitCode
from taskgate.recording.framing import FrameReader, frame
from taskgate.recording.keys import PublicKey, SigningKey
from taskgate.recording.recorder import Recorder
from taskgate.recording.recording_file import MAGIC
from taskgate.recording.records import RecordKind
from taskgate.recording.verify import verify
from tests.unit.recording.evidence import SESSIONS, bad, edit, first, forged
from tests.unit.recording.samples import action, opened, session, statement

# --- what is sound -----------------------------------------------------------------------------------------------


def test_a_bundle_as_exported(folder: Path, key: PublicKey) -> None:
    result = verify(folder, public_keys=[key])
    assert result.ok, result.first
    assert result.exit_code == ExitCode.VERIFIED
    assert [(one.session, one.records, one.sealed) for one in result.sessions] == [
        ("ses_a", 9, True),
        ("ses_b", 9, True),
    ]
    assert (result.checkpoints, result.absent) == (3, 1)
    assert json.loads((folder / "policies" / "policy-1.json").read_bytes())["sources"] == {
        "policy.yaml": "version: 1\n"
    }


def test_as_a_zip(data_dir: Path, tmp_path: Path, key: PublicKey) -> None:
    export(data_dir, tmp_path / "bundle.zip", None)
    result = verify(tmp_path / "bundle.zip", public_keys=[key])
    assert result.exit_code == ExitCode.VERIFIED
    assert [one.session for one in result.sessions] == ["ses_a", "ses_b", "ses_c"]
    assert (tmp_path / "bundle.zip").stat().st_mode & 0o777 == 0o600


def test_headers_only(data_dir: Path, tmp_path: Path, key: PublicKey) -> None:
    export(data_dir, tmp_path / "b", SESSIONS, contents=False)
    assert b"select" not in (tmp_path / "b" / "sessions" / "ses_a.jsonl").read_bytes()
    assert verify(tmp_path / "b", public_keys=[key]).exit_code == ExitCode.VERIFIED


def test_the_data_folder_itself(data_dir: Path, key: PublicKey) -> None:
    assert verify(data_dir, public_keys=[key]).exit_code == ExitCode.VERIFIED
    assert [one.session for one in verify(data_dir, sessions=["ses_b"]).sessions] == ["ses_b"]


def test_without_a_key_from_elsewhere_it_is_not_trusted(folder: Path) -> None:
    result = verify(folder)
    assert result.ok
    assert result.exit_code == ExitCode.UNTRUSTED


async def test_a_living_session(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "data")
    recording = opened(recorder)
    statement(recording)
    await recorder.checkpoint()
    open_action = recording.append(RecordKind.ACTION, action())
    recorder.write()
    export(recorder.data_dir, tmp_path / "b.zip", ["ses_1"])
    for place in (tmp_path / "b.zip", recorder.data_dir):
        result = verify(place, public_keys=[recorder.signing_key.public])
        assert result.ok, result.first
        (finding,) = result.sessions
        assert (finding.closed, finding.records, finding.signed, finding.unfinished) == (False, 4, 3, (open_action,))
        assert not finding.sealed
    await recorder.stop()


async def test_erased_content(data_dir: Path, tmp_path: Path, key: PublicKey) -> None:
    recorder = Recorder(data_dir)
    await recorder.erase("ses_a")
    await recorder.stop()
    export(data_dir, tmp_path / "b", SESSIONS)
    for place in (tmp_path / "b", data_dir):
        result = verify(place, public_keys=[key])
        assert result.ok, result.first
        assert result.sessions[0].erased
        assert result.sessions[0].contents == 0


# --- what a forger does ------------------------------------------------------------------------------------------


def test_a_changed_text(folder: Path, key: PublicKey) -> None:
    path = folder / "sessions" / "ses_b.jsonl"
    path.write_bytes(path.read_bytes().replace(b"select 1", b"select 7"))
    assert first(folder, key) == ("ses_b", 3, "content differs from what the header commits to")


def test_a_changed_header(folder: Path, key: PublicKey) -> None:
    path = folder / "sessions" / "ses_a.jsonl"
    edit(path, lambda lines: [*lines[:4], lines[4].replace(b'"policy-1"', b'"policy-2"'), *lines[5:]])
    assert first(folder, key)[:2] == ("ses_a", 5)


def test_a_deleted_middle(folder: Path, key: PublicKey) -> None:
    edit(folder / "sessions" / "ses_a.jsonl", lambda lines: lines[:3] + lines[4:])
    assert first(folder, key) == ("ses_a", 3, "a record is missing: found number 4")


def test_a_truncated_tail(folder: Path, key: PublicKey) -> None:
    edit(folder / "sessions" / "ses_a.jsonl", lambda lines: lines[:-2])
    assert first(folder, key) == ("ses_a", 7, "is missing: checkpoint 1 signed for records up to 8")


def test_reordered(folder: Path, key: PublicKey) -> None:
    edit(folder / "sessions" / "ses_a.jsonl", lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]])
    assert first(folder, key)[:2] == ("ses_a", 3)


def test_a_replaced_file(folder: Path, key: PublicKey) -> None:
    shutil.copy(folder / "sessions" / "ses_b.jsonl", folder / "sessions" / "ses_a.jsonl")
    assert first(folder, key) == ("ses_a", 0, "belongs to another session (ses_b)")


def test_a_session_left_out(folder: Path, key: PublicKey) -> None:
    (folder / "sessions" / "ses_a.jsonl").unlink()
    assert first(folder, key)[:2] == ("ses_a", 0)


def test_a_session_left_out_of_a_whole_export(data_dir: Path, tmp_path: Path, key: PublicKey) -> None:
    export(data_dir, tmp_path / "b", None)
    (tmp_path / "b" / "sessions" / "ses_c.jsonl").unlink()
    assert first(tmp_path / "b", key)[:2] == ("ses_c", 0)


def test_a_session_that_was_asked_for(folder: Path, key: PublicKey) -> None:
    assert verify(folder, public_keys=[key], sessions=["ses_a"]).ok
    result = verify(folder, public_keys=[key], sessions=["ses_c"])
    assert result.first is not None
    assert result.first.session == "ses_c"


def test_a_session_left_out_of_the_data_folder(data_dir: Path, key: PublicKey) -> None:
    next((data_dir / "recordings").glob("*/*/ses_b.tgr")).unlink()
    assert first(data_dir, key) == ("ses_b", 0, "is missing as a whole")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("stand_in", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
def test_something_that_is_no_file_in_a_recordings_place_is_not_opened(
    data_dir: Path, key: PublicKey, stand_in: Callable[[Path], None]
) -> None:
    recording = next((data_dir / "recordings").glob("*/*/ses_b.tgr"))
    recording.unlink()
    stand_in(recording)
    session, _, message = first(data_dir, key)
    assert session == "ses_b"
    assert "there is no session ses_b" in message


def test_an_invented_session(folder: Path, key: PublicKey, tmp_path: Path) -> None:
    """Well-formed in itself, by somebody who knows the format but has no key."""
    recorder = Recorder(tmp_path / "forger")
    session(recorder, "ses_z")
    recorder.write()
    lines = [b'{"header":' + one.header.raw + b"}\n" for one in recorder.recordings.read("ses_z")]
    (folder / "sessions" / "ses_z.jsonl").write_bytes(b"".join(lines))
    assert first(folder, key)[0] == "ses_z"


def test_a_missing_checkpoint(folder: Path, key: PublicKey) -> None:
    edit(folder / "checkpoints.jsonl", lambda lines: [lines[0], *lines[2:]])
    problems = bad(folder, key).problems
    assert [problem.place for problem in problems] == ["checkpoints.jsonl", "checkpoint 2"]
    assert "missing" in problems[1].message


def test_the_last_checkpoint_cut_off(folder: Path, key: PublicKey) -> None:
    edit(folder / "checkpoints.jsonl", lambda lines: lines[:-1])
    assert any("3 were exported, 2 are here" in str(problem) for problem in bad(folder, key).problems)


def test_the_wrong_key(folder: Path, tmp_path: Path) -> None:
    other = SigningKey.at(tmp_path / "other.key").public
    result = bad(folder, other)
    assert any("signed by another key" in problem.message for problem in result.problems)


def test_everything_signed_by_the_forger(folder: Path, tmp_path: Path, key: PublicKey) -> None:
    """A bundle of a gateway of their own is consistent, and not trusted; with the true key it is bad."""
    forged = tmp_path / "forged"
    shutil.copytree(folder, forged)
    (forged / "public_key.pem").write_bytes(SigningKey.at(tmp_path / "mine.key").public.pem)
    assert not verify(forged).ok
    assert not verify(forged, public_keys=[key]).ok


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig", "checkpoints.jsonl", "public_key.pem"])
def test_a_missing_file(folder: Path, key: PublicKey, name: str) -> None:
    (folder / name).unlink()
    if name == "manifest.json":
        with pytest.raises(GatewayFault, match="not an exported bundle"):
            verify(folder, public_keys=[key])
    else:
        bad(folder, key)


def flip(path: Path, at: int = -10) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("name", "at", "listed"),
    [
        ("checkpoints.jsonl", 10, [True, True]),  # nothing of it can be believed: the manifest vouches
        ("checkpoints.jsonl", -10, [False, False]),  # the last one is ses_c's
        ("public_key.pem", 40, [False, False]),
        ("policies/policy-1.json", 5, [False, False]),
        ("manifest.json", -10, [False, False]),
        ("manifest.sig", -10, [False, False]),
    ],
)
def test_a_damaged_file_is_named_first_and_sessions_stay_what_they_are(
    folder: Path, key: PublicKey, name: str, at: int, listed: list[bool]
) -> None:
    flip(folder / name, at)
    result = bad(folder, key)
    assert result.first is not None
    assert result.first.place == ("manifest.json" if name == "manifest.sig" else name)
    assert [one.intact for one in result.sessions] == [True, True]
    assert [one.listed for one in result.sessions] == listed


def test_a_damaged_key_that_came_along_is_named_first(folder: Path) -> None:
    flip(folder / "public_key.pem", 50)
    result = verify(folder)
    assert result.exit_code == ExitCode.BAD
    assert result.first is not None
    assert result.first.place == "public_key.pem"
    assert [(one.problem, one.intact) for one in result.sessions] == [(None, False), (None, False)]  # nothing vouches


def test_a_damaged_session_is_the_only_bad_one(folder: Path, key: PublicKey) -> None:
    flip(folder / "sessions" / "ses_b.jsonl")
    result = bad(folder, key)
    assert result.problems[0].place == "sessions/ses_b.jsonl"
    assert result.first is not None
    assert (result.first.session, result.first.place) == ("ses_b", "sessions/ses_b.jsonl")
    assert [one.intact for one in result.sessions] == [True, False]


def test_damage_elsewhere_makes_no_shortened_session_intact(folder: Path, key: PublicKey) -> None:
    """Neither checkpoints nor manifest can say that the end is missing, so nothing says that it is whole."""
    flip(folder / "checkpoints.jsonl", 10)
    edit(folder / "sessions" / "ses_a.jsonl", lambda lines: lines[:-2])
    result = bad(folder, key)
    assert [one.intact for one in result.sessions] == [False, True]  # the manifest knows better
    flip(folder / "manifest.json")
    result = bad(folder, key)
    assert [one.intact for one in result.sessions] == [False, False]


def test_damage_elsewhere_makes_no_emptied_session_intact(folder: Path, key: PublicKey) -> None:
    """Without a manifest nobody knows whether contents belong here."""
    flip(folder / "manifest.json")
    edit(folder / "sessions" / "ses_a.jsonl", lambda lines: [line.split(b',"salt"')[0] + b"}\n" for line in lines])
    assert [one.intact for one in bad(folder, key).sessions] == [False, True]


def test_a_file_that_does_not_belong(folder: Path, key: PublicKey) -> None:
    (folder / "README").write_text("trust me")
    problem = bad(folder, key).first
    assert problem is not None
    assert (problem.place, problem.message) == ("README", "does not belong here")


def test_a_link_out_of_the_bundle(folder: Path, key: PublicKey, tmp_path: Path) -> None:
    path = folder / "sessions" / "ses_a.jsonl"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    bad(folder, key)


def test_a_folder_that_is_a_link_out_of_the_bundle(folder: Path, key: PublicKey, tmp_path: Path) -> None:
    (folder / "sessions").rename(tmp_path / "elsewhere")
    (folder / "sessions").symlink_to(tmp_path / "elsewhere")
    problems = bad(folder, key).problems
    assert ("sessions", "does not belong here") in [(one.place, one.message) for one in problems]
    assert ("sessions/ses_a.jsonl", "is missing") in [(one.place, one.message) for one in problems]
    assert not any(one.records for one in verify(folder, public_keys=[key]).sessions)


@pytest.mark.parametrize("name", ["{outside}", "../outside", "sessions/../../outside", "./checkpoints.jsonl", "", "."])
def test_a_manifest_that_names_what_is_elsewhere(
    folder: Path, data_dir: Path, key: PublicKey, tmp_path: Path, name: str
) -> None:
    """What is there would never be said to the end: a pipe nobody writes to."""
    os.mkfifo(tmp_path / "outside")
    name = name.replace("{outside}", str(tmp_path / "outside"))
    files = orjson.loads((folder / "manifest.json").read_bytes())["files"]
    forged(folder, data_dir, {"files": files | {name: "0" * 64}})
    problems = bad(folder, key).problems
    assert (name, "is missing") in [(one.place, one.message) for one in problems]


def test_nothing_outside_is_opened(folder: Path, data_dir: Path, key: PublicKey, tmp_path: Path) -> None:
    """Not even to compare it: a plain file's digest would be one bit of it."""
    (tmp_path / "secret").write_bytes(b"42")
    files = orjson.loads((folder / "manifest.json").read_bytes())["files"]
    forged(folder, data_dir, {"files": files | {str(tmp_path / "secret"): sha256(b"42").hexdigest()}})
    assert [one.message for one in bad(folder, key).problems] == ["is missing", "is missing or cannot be read"]


def test_content_taken_out_of_a_line(folder: Path, data_dir: Path, key: PublicKey) -> None:
    def without(lines: list[bytes]) -> list[bytes]:
        header = lines[1].split(b',"salt"')[0] + b"}\n"
        return [lines[0], header, *lines[2:]]

    edit(folder / "sessions" / "ses_a.jsonl", without)
    assert first(folder, key) == ("ses_a", 1, "its content is missing, and no checkpoint says that it was erased")


# --- without the recording key -----------------------------------------------------------------------------------

NO_KEY = "contents were not checked: no recording key"


@pytest.fixture
def without_key(data_dir: Path, tmp_path: Path) -> Path:
    (data_dir / "keys" / "recording.key").rename(tmp_path / "kept-apart.key")
    return data_dir


def reframed(data_dir: Path, session: str, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path = next((data_dir / "recordings").glob(f"*/*/{session}.tgr"))
    with path.open("rb") as file:
        payloads = [one.payload for one in FrameReader(file, len(MAGIC))]
    path.write_bytes(MAGIC + b"".join(map(frame, change(payloads))))


def test_contents_that_were_not_checked_are_said_to_be(without_key: Path, tmp_path: Path, key: PublicKey) -> None:
    result = verify(without_key, public_keys=[key])
    assert result.exit_code == ExitCode.VERIFIED
    assert result.notes[0] == NO_KEY
    assert [one.contents for one in result.sessions] == [0, 0, 0]
    (tmp_path / "kept-apart.key").rename(without_key / "keys" / "recording.key")
    assert NO_KEY not in verify(without_key, public_keys=[key]).notes


@pytest.mark.parametrize(
    "change",
    [
        lambda frames: [one for one in frames if one[:1] not in (b"K", b"C")],  # as erasing does it
        lambda frames: [one for one in frames if one[:1] != b"K"],
        lambda frames: [one for one in frames if one[:1] != b"C"],
        lambda frames: [b"C" if one[:1] == b"C" else one for one in frames],
    ],
)
def test_contents_taken_out_show_without_the_key(
    without_key: Path, key: PublicKey, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    reframed(without_key, "ses_b", change)
    assert first(without_key, key) == (
        "ses_b",
        0,
        "its content is missing, and no checkpoint says that it was erased",
    )


async def test_contents_erased_and_signed_for_need_no_key(data_dir: Path, tmp_path: Path, key: PublicKey) -> None:
    recorder = Recorder(data_dir)
    await recorder.erase("ses_a")
    await recorder.stop()
    (data_dir / "keys" / "recording.key").unlink()
    assert verify(data_dir, public_keys=[key]).ok


async def test_a_living_session_without_the_key(tmp_path: Path) -> None:
    """Its records are in the journal."""
    recorder = Recorder(tmp_path / "data")
    statement(opened(recorder))
    await recorder.checkpoint()
    (recorder.data_dir / "keys" / "recording.key").rename(tmp_path / "kept-apart.key")
    result = verify(recorder.data_dir, public_keys=[recorder.signing_key.public])
    assert result.ok, result.first
    assert NO_KEY in result.notes
    await recorder.stop()


# --- evidence made to break its reader ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"sessions": [{"session": 1, "records": 1, "head": "a"}]},
        {"sessions": [{"session": "ses_a", "records": "9", "head": None}]},
        {"sessions": [1]},
        {"sessions": 1},
        {"files": {"checkpoints.jsonl": 1}},
        {"files": ["checkpoints.jsonl"]},
        {"checkpoints": "3"},
        {"created": None},
        {"everything": 1},
        {"contents": "yes"},
        {"format": True},
        {"more": 1},
    ],
)
def test_a_signed_manifest_that_is_none(
    folder: Path, data_dir: Path, key: PublicKey, change: Mapping[str, object]
) -> None:
    forged(folder, data_dir, change)
    assert verify(folder).first == bad(folder, key).first  # whoever's key it is
    problem = bad(folder, key).first
    assert problem is not None
    assert problem.place == "manifest.json"
    assert "not a manifest" in problem.message


@pytest.mark.parametrize(
    "signature", [b"1", b"[]", b"null", b'{"key":1,"signature":2}', b'{"key":"%b","signature":[1]}']
)
def test_a_signature_that_is_none(folder: Path, key: PublicKey, signature: bytes) -> None:
    (folder / "manifest.sig").write_bytes(signature.replace(b"%b", key.id.encode()))
    bad(folder, key)


@pytest.mark.parametrize("rubbish", [b"K{}", b"K1", b"Kxx", b'K{"session":"ses_a","process":"x","wrapped":"zz"}'])
def test_a_recording_whose_key_is_none(data_dir: Path, key: PublicKey, rubbish: bytes) -> None:
    reframed(data_dir, "ses_a", lambda frames: [rubbish, *frames[1:]])
    session, seq, message = first(data_dir, key)
    assert (session, seq) == ("ses_a", 0)
    assert message.startswith("cannot be read")


def test_a_session_with_a_name_that_none_has(data_dir: Path, key: PublicKey) -> None:
    path = next((data_dir / "recordings").glob("*/*/ses_a.tgr"))
    shutil.copy(path, path.with_name("ses a.tgr"))
    assert first(data_dir, key) == ("ses a", 0, "cannot be read: taskgate: not a session id")


@pytest.mark.parametrize(
    "rubbish", [b"R\x02\x00{}", b"R\x02\x0012", b"Rxxxx", b"S{}", b'R\x15\x00{"session":1,"seq":0}']
)
def test_a_journal_that_is_none(data_dir: Path, key: PublicKey, rubbish: bytes) -> None:
    (data_dir / "journal" / "gwp_x").mkdir(parents=True)
    (data_dir / "journal" / "gwp_x" / "00000001.seg").write_bytes(frame(rubbish))
    result = verify(data_dir, public_keys=[key])
    assert result.ok or result.exit_code == ExitCode.BAD
    assert [one.session for one in result.sessions if one.intact] == ["ses_a", "ses_b", "ses_c"]


@pytest.mark.parametrize(
    "change",
    [
        {"sessions": [{"session": ["ses_a"], "seq": 0, "head": "a", "state": "open"}]},
        {"sessions": [{"session": "ses_a", "seq": "0", "head": "a", "state": "open"}]},
        {"sessions": [1]},
        {"erased": [["ses_a"]]},
        {"erased": 1},
        {"time": "now"},
        {"sequence": True},
    ],
)
def test_a_signed_checkpoint_that_is_none(data_dir: Path, key: PublicKey, change: Mapping[str, object]) -> None:
    path = data_dir / "checkpoints" / "checkpoints.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    raw = orjson.dumps(orjson.loads(lines[0])["body"] | change)
    signature = SigningKey.at(data_dir / "keys" / "checkpoint.key").sign(raw)
    line = b'{"body":%b,"key":"%b","signature":"%b"}\n' % (raw, key.id.encode(), signature.encode())
    path.write_bytes(b"".join([line, *lines[1:]]))
    problem = bad(data_dir, key).problems[0]
    assert str(problem) == "checkpoint 1: not a checkpoint as a gateway writes it"


async def test_a_result_of_nothing(tmp_path: Path) -> None:
    """Whatever a content says under a name that verification reads."""
    recorder = Recorder(tmp_path / "data")
    recording = opened(recorder)
    recording.append(RecordKind.RESULT, {"action": ["no", "number"]})
    await recorder.stop()
    session, seq, message = first(recorder.data_dir, recorder.signing_key.public)
    assert (session, message) == ("ses_1", "cannot be read: not what a gateway writes")
    assert seq is not None


def test_not_evidence_at_all(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("hello")
    for path in (tmp_path, tmp_path / "x", tmp_path / "absent"):
        with pytest.raises(GatewayFault):
            verify(path)


def test_an_export_replaces_nothing_and_leaves_nothing_half_done(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(ClientFault, match="exists already"):
        export(data_dir, tmp_path / "there", SESSIONS)
    with pytest.raises(GatewayFault, match="no session ses_x"):
        export(data_dir, tmp_path / "new" / "b.zip", ["ses_x"])
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(GatewayFault, match="no signing key"):
        export(tmp_path / "nowhere", tmp_path / "b", None)
