"""`python -m bench`: the figures of README, measured now. `--quick` for a first look, `--only pgbench` for one part."""

from __future__ import annotations

import argparse
import platform
import signal
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

from bench import airflow_task, bulk, connect, decision, imports, parked, pgbench, prefect_task
from bench.stand import Stand

PARTS = ("pgbench", "bulk", "leaks", "connect", "parked", "decision", "imports", "airflow", "airflow-worker", "prefect")
_WITHOUT_STAND = {"imports", "airflow", "airflow-worker", "prefect"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default 5)")
    parser.add_argument("--seconds", type=int, default=5, help="seconds of each pgbench run (default 5)")
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    parser.add_argument("--only", action="append", choices=PARTS, help="only these parts")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and so stop what was started
    rounds, seconds = (1, 2) if chosen.quick else (chosen.rounds, chosen.seconds)
    parts = chosen.only or PARTS
    print(f"Python {platform.python_version()}, {platform.machine()}, PostgreSQL 15, all on loopback")
    if set(parts) - _WITHOUT_STAND:
        _gateway_alone(parts, rounds, seconds)
    with tempfile.TemporaryDirectory(prefix="taskgate-bench-") as folder:
        Path(folder).chmod(0o711)  # the database server runs as somebody else
        if "imports" in parts:
            imports.report(Path(folder), rounds)
        if "airflow" in parts:
            airflow_task.report(Path(folder) / "server", rounds)
        if "airflow-worker" in parts:
            airflow_task.report(Path(folder) / "worker", rounds, "worker")
        if "prefect" in parts:
            prefect_task.report(Path(folder) / "prefect", rounds)
            prefect_task.report_imports(Path(folder), rounds)


def _gateway_alone(parts: Collection[str], rounds: int, seconds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="taskgate-bench-") as folder, Stand(Path(folder)) as stand:
        if "pgbench" in parts:
            pgbench.report(stand, rounds, seconds)
        if "bulk" in parts:
            bulk.report(stand, rounds)
        if "leaks" in parts:
            bulk.report_leaks(stand)
        if "connect" in parts:
            connect.report(stand, rounds)
        if "parked" in parts:
            parked.report(stand, rounds, seconds)
        if "decision" in parts:
            decision.report(str(stand.gateway.policy_file))


if __name__ == "__main__":
    main()
