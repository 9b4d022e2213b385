"""Connection set-up: connect, authenticate, one SELECT, leave."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import psycopg

from bench.rounds import Figure, interleave, ratio
from bench.stand import Stand

_EACH = 40


def _measure(stand: Stand, way: str) -> Callable[[], tuple[float, Mapping[str, float]]]:
    dsn, process = stand.dsn(way), stand.processes.get(way)

    def measure() -> tuple[float, Mapping[str, float]]:
        cpu = process.cpu_seconds() if process else 0.0
        started = time.perf_counter()
        for _ in range(_EACH):
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("select 1")
        rate = _EACH / (time.perf_counter() - started)
        return rate, {"cpu": ((process.cpu_seconds() if process else 0.0) - cpu) / _EACH}

    return measure


def _cpu(figure: Figure) -> str:
    """Of the process in between. Rates depend on what else the machine does; this hardly does."""
    seconds = figure.extra_median("cpu")
    return f"{seconds * 1000:.1f} ms CPU each" if seconds else ""


def report(stand: Stand, rounds: int) -> None:
    figures = interleave({way: _measure(stand, way) for way in ("direct", "C relay", "gateway")}, rounds)
    print(f"\nconnection set-up (connect, SCRAM, SELECT 1, close), {rounds} rounds of {_EACH}")
    for way, figure in figures.items():
        print(
            f"  {way:<10} {figure.median:>7.1f} a second   {1000 / figure.median:>5.1f} ms each   "
            f"{ratio(figures, way, 'direct'):.2f} of direct   {_cpu(figure)}"
        )
