"""Erasing that is interrupted; what it does otherwise is in test_recorder.py and test_retention.py."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from taskgate.errors import GatewayFault, JournalFault
from taskgate.recording import erasure
from taskgate.recording.checkpoints import Checkpoint, read_checkpoints
from taskgate.recording.erasure import Erasures
from taskgate.recording.recorder import Recorder
from taskgate.recording.verify import verify
from tests.unit.recording.samples import opened, session


class Killed(BaseException):
    """Stands for the process's death: nothing tidies up after it."""


@pytest.fixture
async def recorder(tmp_path: Path) -> AsyncIterator[Recorder]:
    recorder = Recorder(tmp_path)
    session(recorder)
    await recorder.settle()
    yield recorder
    await recorder.stop()


def erased(recorder: Recorder) -> list[str]:
    return [one for line in read_checkpoints(recorder.checkpoints.path) for one in Checkpoint.parse(line).body.erased]


def contents(recorder: Recorder) -> int:
    return sum(record.content is not None for record in recorder.recordings.read("ses_1"))


async def dies_in(recorder: Recorder, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Erasures, method, die)
        erasing = asyncio.create_task(recorder._upkeep._erase("ses_1"))
        with pytest.raises(Killed):
            await erasing


async def restarted(data_dir: Path) -> None:
    recorder = Recorder(data_dir)
    await recorder.start()
    await recorder.stop()


async def test_killed_after_signing_the_next_start_erases(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await dies_in(recorder, monkeypatch, "finish")
    assert erased(recorder) == ["ses_1"]
    assert contents(recorder) == 9
    assert verify(tmp_path, public_keys=[recorder.signing_key.public]).ok  # content that is still there is no crime
    await restarted(tmp_path)
    assert contents(recorder) == 0
    assert list(recorder.storage.being_erased()) == []
    assert verify(tmp_path, public_keys=[recorder.signing_key.public]).ok


async def test_killed_before_signing_nothing_has_happened(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(erasure, "sync_folder", lambda _: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            await recorder._upkeep._erase("ses_1")
    assert list(recorder.storage.being_erased()) == ["ses_1"]
    await restarted(tmp_path)
    assert list(recorder.storage.being_erased()) == []
    assert erased(recorder) == []
    assert contents(recorder) == 9
    assert verify(tmp_path).ok


_KILLED = """
import asyncio, os, pathlib, sys
from taskgate.recording.erasure import Erasures
from taskgate.recording.recorder import Recorder

async def main():
    Erasures.finish = lambda *_: os.kill(os.getpid(), 9)
    await Recorder(pathlib.Path(sys.argv[1])).erase("ses_1")

asyncio.run(main())
"""


async def test_killed_nine_before_the_content_goes(tmp_path: Path) -> None:
    """The real thing, in a process of its own."""
    recorder = Recorder(tmp_path)
    session(recorder)
    await recorder.stop()
    ran = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], cwd=Path(__file__).parents[3], check=False)
    assert ran.returncode == -9
    assert contents(recorder) == 9
    await restarted(tmp_path)
    assert contents(recorder) == 0
    result = verify(tmp_path)
    assert result.ok, result.first
    assert result.sessions[0].erased


async def test_what_cannot_be_signed_for_is_not_erased(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise JournalFault("no room")

    with monkeypatch.context() as patch:
        patch.setattr(recorder.checkpoints, "append", refuse)
        with pytest.raises(JournalFault, match="no room"):
            await recorder.erase("ses_1")
    assert contents(recorder) == 9
    assert list(recorder.storage.being_erased()) == []
    await recorder.erase("ses_1")
    assert contents(recorder) == 0


async def test_a_caller_that_goes_leaves_no_half(recorder: Recorder) -> None:
    caller = asyncio.create_task(recorder.erase("ses_1"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    caller.cancel()
    await recorder.stop()
    assert (contents(recorder), erased(recorder)) == (0, ["ses_1"])


async def test_one_process_at_a_time(recorder: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(erasure, "_PATIENCE", 0.05)
    await dies_in(recorder, monkeypatch, "finish")
    other = Recorder(tmp_path)
    held = Erasures(other.storage, tmp_path / "journal").lock()
    with pytest.raises(GatewayFault, match="another gateway process"):
        await recorder.erase("ses_1")
    await other.start()  # leaves it alone
    assert contents(recorder) == 9
    os.close(held)
    await other.stop()


async def test_what_lies_about_under_such_a_name_erases_nothing(recorder: Recorder, tmp_path: Path) -> None:
    """Only a checkpoint makes it count, and even then the recording itself is what it is made from."""
    session(recorder, "ses_2")
    await recorder.settle()
    drafts = recorder.storage.erasing_folder()
    await recorder.erase("ses_1")
    for name in ("ses_1", "ses_2", "ses_3", "ses 4"):
        (drafts / f"{name}.tgr.erasing").write_bytes(b"something else")
    (drafts / "ses_5.tgr.erasing").mkdir()
    await restarted(tmp_path)
    assert list(recorder.storage.being_erased()) == []
    assert verify(tmp_path).ok
    assert len([one for one in recorder.recordings.read("ses_2") if one.content]) == 9


async def test_an_erasure_that_cannot_be_finished_stops_no_start(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await dies_in(recorder, monkeypatch, "finish")
    next(tmp_path.glob("recordings/[0-9]*/*/ses_1.tgr")).unlink()
    await restarted(tmp_path)
    living = opened(recorder, "ses_2")
    living.close("over")
