from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from taskgate.cli.export import app as export_app
from taskgate.cli.recordings import render_replay, verify_app
from taskgate.domain import Parameter
from taskgate.recording.framing import frame
from taskgate.recording.recorder import Recorder
from taskgate.recording.recording_file import MAGIC
from taskgate.recording.records import Decided, Event, Parked, RecordedAction, RecordKind, Result
from taskgate.recording.replay import GivenMoment, TimelineEvent, timeline
from tests.unit.recording.samples import action, opened, session

RUN = CliRunner()


@pytest.fixture
async def data_dir(tmp_path: Path) -> Path:
    recorder = Recorder(tmp_path / "data")
    session(recorder, "ses_a")
    await recorder.settle()
    session(recorder, "ses_b")
    await recorder.stop()
    return recorder.data_dir


@pytest.fixture
def key(data_dir: Path) -> str:
    return str(data_dir / "keys" / "checkpoint.pub")


@pytest.fixture
def bundle(data_dir: Path, tmp_path: Path) -> Path:
    target = tmp_path / "bundle"
    ran = RUN.invoke(export_app, ["ses_a", "ses_b", "-o", str(target), "--data-dir", str(data_dir)])
    assert ran.exit_code == 0, ran.output
    return target


def test_export_then_verify(bundle: Path, key: str) -> None:
    ran = RUN.invoke(verify_app, [str(bundle), "--public-key", key])
    assert ran.exit_code == 0
    assert "Verified: 2 sessions, 18 records, 2 checkpoints." in ran.output


def test_verify_names_the_first_bad_record(bundle: Path, key: str) -> None:
    path = bundle / "sessions" / "ses_b.jsonl"
    path.write_bytes(path.read_bytes().replace(b"select 2", b"select 3"))
    ran = RUN.invoke(verify_app, [str(bundle), "--public-key", key])
    assert ran.exit_code == 1
    assert "First bad record: session ses_b, record 5: content differs" in ran.output
    said = json.loads(RUN.invoke(verify_app, [str(bundle), "--public-key", key, "--json"]).output)
    assert said["ok"] is False
    assert (said["first_problem"]["session"], said["first_problem"]["seq"]) == ("ses_b", 5)


def test_verify_names_the_damaged_file_first(bundle: Path, key: str) -> None:
    path = bundle / "checkpoints.jsonl"
    path.write_bytes(b"x" + path.read_bytes()[1:])
    ran = RUN.invoke(verify_app, [str(bundle), "--public-key", key])
    assert ran.exit_code == 1
    assert ran.output.splitlines()[:5] == [
        "BAD  checkpoints.jsonl: differs from what the manifest lists",
        "BAD  checkpoint 1: not a checkpoint as a gateway writes it",
        "ok   ses_a  9 records  closed, intact: as the signed manifest lists it",
        "ok   ses_b  9 records  closed, intact: as the signed manifest lists it",
        "2 of 2 sessions are intact.",
    ]
    assert ran.output.splitlines()[-1].startswith("NOT VERIFIED: checkpoints.jsonl: differs")
    said = json.loads(RUN.invoke(verify_app, [str(bundle), "--public-key", key, "--json"]).output)
    assert said["first_problem"]["place"] == "checkpoints.jsonl"
    assert [one["intact"] for one in said["sessions"]] == [True, True]


def test_verify_without_a_key_of_ones_own(bundle: Path) -> None:
    ran = RUN.invoke(verify_app, [str(bundle)])
    assert ran.exit_code == 8
    assert "pass the gateway's public key" in ran.output
    assert json.loads(RUN.invoke(verify_app, [str(bundle), "--json"]).output)["trusted"] is False


def test_verify_what_is_no_evidence(tmp_path: Path, key: str) -> None:
    (tmp_path / "x\x1b[31m.zip").write_text("no")
    ran = RUN.invoke(verify_app, [str(tmp_path / "x\x1b[31m.zip"), "--public-key", key])
    assert ran.exit_code == 2
    assert "\x1b" not in ran.output
    assert RUN.invoke(verify_app, [str(tmp_path), "--public-key", str(tmp_path / "none.pem")]).exit_code == 2
    (tmp_path / "bad.pem").write_text("hello")
    ran = RUN.invoke(verify_app, [str(tmp_path), "--public-key", str(tmp_path / "bad.pem"), "--json"])
    assert ran.exit_code == 2
    assert "PEM" in json.loads(ran.output)["error"]


def test_verify_says_what_it_could_not_check(data_dir: Path, key: str) -> None:
    (data_dir / "keys" / "recording.key").unlink()
    ran = RUN.invoke(verify_app, [str(data_dir), "--public-key", key])
    assert ran.exit_code == 0
    assert "note contents were not checked: no recording key" in ran.output
    said = json.loads(RUN.invoke(verify_app, [str(data_dir), "--public-key", key, "--json"]).output)
    assert "contents were not checked: no recording key" in said["notes"]


def test_verify_says_bad_of_rubbish_and_never_crashes(data_dir: Path, key: str) -> None:
    path = next((data_dir / "recordings").glob("*/*/ses_a.tgr"))
    path.write_bytes(MAGIC + frame(b"K1") + frame(b"H{}"))
    ran = RUN.invoke(verify_app, [str(data_dir), "--public-key", key])
    assert ran.exit_code == 1
    assert "First bad record: session ses_a, record 0: cannot be read" in ran.output


def test_verify_against_checkpoints_kept_outside(bundle: Path, data_dir: Path, key: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside.jsonl"
    shutil.copy(data_dir / "checkpoints" / "checkpoints.jsonl", outside)
    assert RUN.invoke(verify_app, [str(bundle), "--public-key", key, "--outside", str(outside)]).exit_code == 0
    lines = outside.read_bytes().splitlines(keepends=True)
    outside.write_bytes(lines[0].replace(b'"ses_a"', b'"ses_c"'))
    assert RUN.invoke(verify_app, [str(bundle), "--public-key", key, "--outside", str(outside)]).exit_code == 1


@pytest.mark.parametrize("content", [None, ""])
def test_verify_against_nothing_outside(
    data_dir: Path, bundle: Path, key: str, tmp_path: Path, content: str | None
) -> None:
    outside = tmp_path / "outside.jsonl"
    if content is not None:
        outside.write_text(content)
    for place in (data_dir, bundle):
        ran = RUN.invoke(verify_app, [str(place), "--public-key", key, "--outside", str(outside)])
        assert ran.exit_code == 2
        assert "outside" in ran.output
        assert "Verified" not in ran.output


def test_export_everything_as_json(data_dir: Path, tmp_path: Path) -> None:
    arguments = ["--all", "--headers-only", "-o", str(tmp_path / "b.zip"), "--data-dir", str(data_dir), "--json"]
    ran = RUN.invoke(export_app, arguments)
    assert json.loads(ran.output) == {
        "bundle": str(tmp_path / "b.zip"),
        "sessions": 2,
        "records": 18,
        "checkpoints": 2,
        "contents": False,
    }


@pytest.mark.parametrize("arguments", [[], ["--all", "ses_a"], ["ses_nothing"], ["../../etc/passwd"]])
def test_export_of_what_cannot_be(data_dir: Path, tmp_path: Path, arguments: list[str]) -> None:
    ran = RUN.invoke(export_app, [*arguments, "-o", str(tmp_path / "b"), "--data-dir", str(data_dir)])
    assert ran.exit_code == 2
    assert not (tmp_path / "b").exists()


TASK = ["--source", "airflow", "--dag-id", "etl", "--run-id", "run-1", "--task-id", "load"]


@pytest.mark.parametrize("chosen", [TASK, ["--dag-id", "etl"], ["--since", "2020-01-01", "--target", "orders-db"]])
def test_export_of_a_run_from_the_data_folder(
    data_dir: Path, key: str, tmp_path: Path, chosen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKGATE_URL", "http://127.0.0.1:1")  # --data-dir wins
    target = tmp_path / "run.zip"
    ran = RUN.invoke(export_app, [*chosen, "-o", str(target), "--data-dir", str(data_dir), "--json"])
    assert json.loads(ran.output)["sessions"] == 2
    assert RUN.invoke(verify_app, [str(target), "--public-key", key]).exit_code == 0


@pytest.mark.parametrize(
    "chosen",
    [["--dag-id", "other"], [*TASK, "--map-index", "3"], ["--until", "2020-01-01"], ["--dag-id", "etl", "--all"]],
)
def test_a_filter_that_fits_nothing_exports_nothing(data_dir: Path, tmp_path: Path, chosen: list[str]) -> None:
    ran = RUN.invoke(export_app, [*chosen, "-o", str(tmp_path / "b"), "--data-dir", str(data_dir)])
    assert ran.exit_code == 2
    assert not (tmp_path / "b").exists()


# --- replay ------------------------------------------------------------------------------------------------------


def drawn(events: Iterable[TimelineEvent], *, color: bool = False) -> str:
    out = io.StringIO()
    terminal = Console(
        file=out, width=200, force_terminal=color, color_system="standard" if color else None, _environ={}
    )  # whatever the terminal is that the tests run in
    render_replay(events, terminal)
    return out.getvalue()


def moment(seq: int, kind: str, content: Mapping[str, object] | None) -> GivenMoment:
    return GivenMoment(seq, kind, datetime(2026, 11, 23, 10, 0, seq, tzinfo=UTC), content)


async def test_a_session_as_a_timeline(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recording = opened(recorder)
    seq = recording.append("action", action("select *\nfrom orders where id = $1", Parameter(23, 0, b"7")))
    recording.append(
        "result",
        Result(seq, "SELECT 1", rows=1, bytes_to_client=99, masked={"masks[0]": 2}, error="boom", elapsed_us=2500),
    )
    refused = RecordedAction("postgres", "drop table orders", ("sql.ddl public.orders",), "deny", reason="Never.")
    recording.append(RecordKind.REFUSED, refused)
    recording.append(RecordKind.PARKED, Parked(action("delete from orders"), "apr_1", ("group:dba",), 60.0))
    recording.append(RecordKind.DECIDED, Decided("apr_1", "approved", "user:alice", "fine"))
    recording.append(RecordKind.EVENT, Event("cancel", {"by": "client"}))
    recording.close("client disconnected")
    recorder.write()
    text = drawn(timeline(recorder.recordings.read("ses_1")))
    await recorder.stop()
    lines = [line.rstrip() for line in text.splitlines()]
    assert "opened task:airflow:etl.load (verified) → orders-db from 10.0.0.9" in lines[0]
    assert lines[1].strip() == "task airflow/etl/run-1/load, try 2"
    assert "allow sql.select public.orders" in lines[2]
    assert [line.strip() for line in lines[3:9]] == [
        "select *",
        "from orders where id = $1",
        "$1 = '7'",
        "rules etl-reads",
        "→ SELECT 1, 1 rows, 99 bytes, 2.5 ms, masked 2 × masks[0]",
        "→ boom",
    ]
    assert "refused sql.ddl public.orders" in text
    assert "Never." in text
    assert "waits for approval apr_1" in text
    assert "approval apr_1, approved, user:alice, fine" in text
    assert '"by": "client"' in text
    assert "closed client disconnected" in lines[-1]


HOSTILE = [
    "\x1b[2J\x1b[H all clear",  # clears the screen
    "\x1b]0;title\x07",
    "\x9b31m",  # C1: CSI in one character
    "select 1\r\x08\x08 -- harmless",
    "a\u202eb\u2066c",  # bidi override and isolate
    "pass\u200bword",
    "[bold red]markup[/]",
    ":smiley:",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_recorded_text_cannot_play_with_the_terminal(text: str) -> None:
    hostile = {
        "text": text,
        "pairs": [text],
        "verdict": text,
        "rules": [{"rule": text}],
        "parameters": [{"text": text}],
        "reason": text,
    }
    ending = {"action": 1, "tag": text, "masked": {text: 1}, "error": text}
    drawing = drawn(
        timeline(
            [
                moment(
                    0, "session_opened", dict.fromkeys(("principal_name", "target", "task", "client_address"), text)
                ),
                moment(1, "action", hostile),
                moment(2, "result", ending),
                moment(3, "event", {"name": text, "fields": {text: text}}),
                moment(4, "decided", {"approval_id": text, "comment": text}),
                moment(5, "session_closed", {"reason": text}),
            ]
        )
    )
    assert not [one for one in drawing if one != "\n" and (ord(one) < 32 or 0x7F <= ord(one) < 0xA0)]
    assert not {"\u202e", "\u2066", "\u200b"} & set(drawing)
    if text.startswith(("[", ":")):
        assert text in drawing  # neither markup nor an emoji


def test_colours_are_ours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")  # whatever terminal the tests run in
    monkeypatch.delenv("NO_COLOR", raising=False)
    plain = {"text": "select 1", "pairs": ["sql.select x"], "verdict": "allow"}
    assert "\x1b[" in drawn(timeline([moment(0, "action", plain)]), color=True)


def test_an_action_without_a_result_and_an_erased_one() -> None:
    plain = {"text": "select 1", "pairs": ["sql.select x"], "verdict": "allow"}
    text = drawn(timeline([moment(0, "action", plain), moment(1, "action", None)]))
    assert "no result is recorded" in text
    assert "action  (content erased)" in text
