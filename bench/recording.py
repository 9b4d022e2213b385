"""What recording costs: `python -m bench.recording`. Seconds, on one core; every figure is the best of several rounds.

append, write   the way of an action: two records (action and result) are buffered, sealed and handed to the system
durable         the same, and on disk before it goes on: alone, and with 32 sessions that share fsyncs
compile …       what happens later: the recording, its bundle, its verification, taking over from a dead process
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from taskgate.errors import RuleMatch
from taskgate.recording.export import export
from taskgate.recording.header import SessionHeader
from taskgate.recording.recorder import Recorder
from taskgate.recording.records import ActionTemplate, RecordedAction, Result, SessionOpened
from taskgate.recording.session_recording import SessionRecording
from taskgate.recording.verify import verify

ROUNDS = 7
MANY = 20_000
ACTION = RecordedAction(
    protocol="postgres",
    text="SELECT abalance FROM pgbench_accounts WHERE aid = 4711;",
    pairs=("sql.select public.pgbench_accounts",),
    verdict="allow",
    rules=(RuleMatch("etl-reads-orders", "allow"),),
    tags=("SELECT",),
    role="app",
    search_path="public",
)
OPENED = SessionOpened("task", "etl.load", "airflow", "verified", "jwt", {}, "orders-db", "postgres", "::1", "tg_1")


def opened(recorder: Recorder, name: str) -> SessionRecording:
    recording = recorder.open(SessionHeader(name, "f" * 64, "e" * 64))
    recording.append("session_opened", OPENED)
    recorder.write()
    return recording


def best(once: Callable[[], int]) -> float:
    """Microseconds a piece; `once` says how many it did."""
    found = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        count = once()
        found.append((time.perf_counter() - started) / count * 1e6)
    return min(found)


def show(name: str, value: float, unit: str) -> None:
    print(f"{name:<58} {value:>12,.1f} {unit}")


def hot_path(data_dir: Path) -> None:
    recorder = Recorder(data_dir, buffer_bytes=1 << 40)
    recording = opened(recorder, "ses_hot")

    def append(content: object) -> float:
        def once() -> int:
            for _ in range(2000):
                recording.append("action", content)  # type: ignore[arg-type]
            return 2000

        fastest = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            count = once()
            fastest.append((time.perf_counter() - started) / count * 1e6)
            recorder.write()
        return min(fastest)

    show("append, content as a dataclass", append(ACTION), "µs")
    show("append, content ready (ActionTemplate)", append(ActionTemplate(ACTION).content()), "µs")

    def pairs(batch: int) -> Callable[[], int]:
        def once() -> int:
            for _ in range(2048 // batch):
                for _ in range(batch):
                    seq = recording.append("action", ACTION)
                    recording.append("result", Result(seq, "SELECT 1", 1, 64, elapsed_us=120))
                recorder.write()
            return 2048

        return once

    for batch in (1, 8, 64):
        show(f"action + result + write, {batch} a write", best(pairs(batch)), "µs a pair")
    recorder.journal.close()


async def durable(data_dir: Path) -> None:
    recorder = Recorder(data_dir)
    sessions = [opened(recorder, f"ses_{number}") for number in range(32)]

    async def work(recording: SessionRecording, count: int) -> None:
        for _ in range(count):
            recording.append("action", ACTION)
            await recorder.sync()

    for crowd, count in ((1, 300), (32, 60)):
        started = time.perf_counter()
        await asyncio.gather(*(work(recording, count) for recording in sessions[:crowd]))
        show(f"durable action, {crowd} sessions", (time.perf_counter() - started) / (crowd * count) * 1e6, "µs each")
    await recorder.stop()


async def afterwards(data_dir: Path) -> None:
    recorder = Recorder(data_dir, buffer_bytes=1 << 40)
    for name in ("ses_a", "ses_b"):
        recording = opened(recorder, name)
        for number in range(MANY // 2):
            seq = recording.append("action", ACTION)
            recording.append("result", Result(seq, "SELECT 1", 1, 64, elapsed_us=number))
            if not number % 16:
                recorder.write()
        recorder.write()
    recorder.journal.close()  # as if it had died
    journal = sum(path.stat().st_size for path in recorder.journal.folder.glob("*.seg"))

    started = time.perf_counter()
    successor = Recorder(data_dir)
    await successor.start()
    show("recovery (read, close, compile, sign)", 2 * MANY / (time.perf_counter() - started), "records/s")
    compiled = sum(path.stat().st_size for path in data_dir.glob("recordings/*/*/*.tgr"))
    show("journal", journal / 2 / MANY, "bytes a record")
    show("recording", compiled / 2 / MANY, "bytes a record")

    recording = opened(successor, "ses_c")
    for number in range(MANY // 2):
        seq = recording.append("action", ACTION)
        recording.append("result", Result(seq, "SELECT 1", 1, 64, elapsed_us=number))
    recording.close("done")
    await successor.checkpoint()
    started = time.perf_counter()
    await successor.settle()
    show("compile, stepping aside for the event loop", MANY / (time.perf_counter() - started), "records/s")
    await successor.stop()

    started = time.perf_counter()
    result = verify(data_dir)
    total = sum(one.records for one in result.sessions)
    show("verify the data folder", total / (time.perf_counter() - started), "records/s")
    started = time.perf_counter()
    export(data_dir, data_dir / "bundle.zip", None)
    show("export", total / (time.perf_counter() - started), "records/s")
    started = time.perf_counter()
    assert verify(data_dir / "bundle.zip").ok
    show("verify a bundle", total / (time.perf_counter() - started), "records/s")


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as temporary:
        hot_path(Path(temporary) / "hot")
        asyncio.run(durable(Path(temporary) / "durable"))
        asyncio.run(afterwards(Path(temporary) / "afterwards"))


if __name__ == "__main__":
    main()
