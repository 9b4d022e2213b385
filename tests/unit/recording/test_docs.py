"""docs/recording.md says what is there."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from typer.testing import CliRunner

from taskgate.cli.export import app as export_app
from taskgate.cli.recordings import verify_app
from taskgate.recording.findings import ExitCode
from taskgate.recording.recorder import Recorder
from taskgate.recording.records import RecordKind
from tests.unit.recording.samples import session

PAGE = (Path(__file__).parents[3] / "docs" / "recording.md").read_text()


def test_every_kind_of_record_is_described() -> None:
    table = PAGE.split("## What is recorded")[1].split("##")[0]
    assert set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", table, re.M)))) == {
        str(k) for k in RecordKind
    }


def test_every_exit_code_is_described() -> None:
    assert {int(code) for code in re.findall(r"^\| (\d) \|", PAGE, re.M)} == {int(code) for code in ExitCode}


async def test_the_commands_run(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    recorder = Recorder(data_dir)
    for name in ("ses_1", "ses_2"):
        session(recorder, name)
    await recorder.stop()
    shutil.copy(data_dir / "keys" / "checkpoint.pub", tmp_path)
    shutil.copy(data_dir / "checkpoints" / "checkpoints.jsonl", tmp_path / "pushed-checkpoints.jsonl")
    commands = re.findall(r"^taskgate (export|verify) (.*)$", PAGE, re.M)
    assert len(commands) == 5
    for name, rest in commands:
        words = rest.replace("ses_0199…", "ses_1").replace("ses_019a…", "ses_2").replace("/var/lib/taskgate", "data")
        arguments = [
            str(tmp_path / word) if re.fullmatch(r"data|proof|[\w-]+\.(zip|pub|jsonl)", word) else word
            for word in shlex.split(words)
        ]
        ran = CliRunner().invoke({"export": export_app, "verify": verify_app}[name], arguments)
        assert ran.exit_code == 0, (name, arguments, ran.output)


def test_the_layout_is_as_drawn() -> None:
    for word in ("checkpoints.jsonl", "recording.key", "checkpoint.key", ".tgr", "00000001.seg", "drafts"):
        assert word in PAGE
