"""Reading, verifying and exporting while a gateway records."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from taskgate.errors import GatewayFault
from taskgate.recording.export import export
from taskgate.recording.recorder import Recorder
from taskgate.recording.recordings import Recordings
from taskgate.recording.verify import verify
from tests.unit.recording.samples import header, opened, session, statement


@pytest.fixture
async def recorder(tmp_path: Path) -> AsyncIterator[Recorder]:
    recorder = Recorder(tmp_path / "data", sync_interval=0.02, checkpoint_interval=0.2, segment_bytes=20_000)
    await recorder.start()
    yield recorder
    await recorder.stop()


async def busy(recorder: Recorder, stop: asyncio.Event) -> None:
    choose = random.Random(1)
    living = [opened(recorder, f"ses_{number}") for number in range(4)]
    count = len(living)
    while not stop.is_set():
        statement(choose.choice(living))
        recorder.write()
        if choose.random() < 0.03:
            living.pop(choose.randrange(len(living))).close("client disconnected")
            living.append(opened(recorder, f"ses_{count}"))
            count += 1
        await asyncio.sleep(0.005)


async def test_whatever_is_looked_at_holds(recorder: Recorder, tmp_path: Path) -> None:
    stop = asyncio.Event()
    work = asyncio.create_task(busy(recorder, stop))
    await asyncio.sleep(0.3)
    for number in range(3):
        result = await asyncio.to_thread(verify, recorder.data_dir)
        assert result.ok, result.first
        bundle = tmp_path / f"bundle{number}.zip"
        await asyncio.to_thread(export, recorder.data_dir, bundle, None)
        result = await asyncio.to_thread(verify, bundle, public_keys=[recorder.signing_key.public])
        assert result.ok, result.first
        assert len(result.sessions) >= 4
    stop.set()
    await work


async def test_whatever_a_sink_has_is_in_what_is_looked_at(tmp_path: Path) -> None:
    """Signed for every few hundredths of a second, also while the folder is read and a bundle made of it."""
    outside = tmp_path / "outside.jsonl"

    class Sink:
        def push(self, line: bytes) -> None:
            with outside.open("ab") as file:
                file.write(line + b"\n")

    recorder = Recorder(tmp_path / "data", sync_interval=0.02, checkpoint_interval=0.02, sinks=[Sink()])
    await recorder.start()
    stop = asyncio.Event()
    work = asyncio.create_task(busy(recorder, stop))
    while not outside.exists():
        await asyncio.sleep(0.01)
    keys = [recorder.signing_key.public]
    for number in range(5):
        result = await asyncio.to_thread(verify, recorder.data_dir, public_keys=keys, outside=outside)
        assert result.ok, result.first
        bundle = tmp_path / f"bundle{number}.zip"
        await asyncio.to_thread(export, recorder.data_dir, bundle, None)
        size = outside.stat().st_size
        while outside.stat().st_size == size:
            await asyncio.sleep(0.01)
        result = await asyncio.to_thread(verify, bundle, public_keys=keys, outside=outside)
        assert result.ok, result.first
        assert any("newer checkpoints" in note for note in result.notes)
    stop.set()
    await work
    await recorder.stop()


async def test_nothing_recorded_lies_about_in_clear(recorder: Recorder) -> None:
    recording = opened(recorder)
    statement(recording, "select 'canary-in-a-literal'")
    session(recorder, "ses_done")
    await recorder.settle()
    await recorder.sync()
    files = [path for path in recorder.data_dir.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        data = path.read_bytes()
        assert b"canary" not in data, path
        assert b"etl.load" not in data, path
        if path.suffix != ".pub":
            assert path.stat().st_mode & 0o077 == 0, path


async def test_reading_from_another_process_needs_the_key(recorder: Recorder) -> None:
    statement(opened(recorder))
    await recorder.sync()
    assert len(list(Recordings(recorder.data_dir).read("ses_1"))) == 3
    (recorder.data_dir / "keys" / "recording.key").rename(recorder.data_dir / "away")
    with pytest.raises(GatewayFault, match="no recording key"):
        Recordings(recorder.data_dir)
    assert [one.content for one in Recordings(recorder.data_dir, contents=False).read("ses_1")] == [None] * 3


async def test_a_session_opened_and_not_begun_is_none(recorder: Recorder) -> None:
    recorder.open(header("ses_void"))
    await recorder.sync()
    assert Recordings(recorder.data_dir).sessions() == []
    with pytest.raises(GatewayFault, match="no session"):
        list(Recordings(recorder.data_dir).read("ses_void"))
