"""pgbench -S (one SELECT by primary key) in its three protocol modes, every way to the server in turn."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping

from bench.rounds import interleave, ratio
from bench.stand import Stand
from taskgate.demo.postgres_server import debian_bin

MODES = ("simple", "extended", "prepared")


def run(stand: Stand, way: str, mode: str, clients: int, seconds: int) -> float:
    """Transactions per second, without the connections' set-up."""
    user, password, database = stand.login(way)
    done = subprocess.run(
        [str(debian_bin() / "pgbench"), "-n", "-S", "-M", mode, "-c", str(clients), "-j", "1", "-T", str(seconds),
         "-h", "127.0.0.1", "-p", str(stand.ways[way]), "-U", user, database],
        env=os.environ | {"PGPASSWORD": password}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = re.search(r"tps = ([\d.]+) \(without initial connection time\)", done.stdout)
    if done.returncode or not found:
        raise RuntimeError(f"pgbench through {way} failed: {done.stderr[-1000:]}")
    return float(found[1])


def _measure(
    stand: Stand, way: str, mode: str, clients: int, seconds: int
) -> Callable[[], tuple[float, Mapping[str, float]]]:
    process = stand.processes.get(way)

    def measure() -> tuple[float, Mapping[str, float]]:
        before = process.cpu_seconds() if process else 0.0
        tps = run(stand, way, mode, clients, seconds)
        used = process.cpu_seconds() - before if process else 0.0
        return tps, {"cpu_us": used / (tps * seconds) * 1e6}

    return measure


def report(stand: Stand, rounds: int, seconds: int, modes: tuple[str, ...] = MODES) -> None:
    for clients in (1, 8):
        for mode in modes:
            ways = {way: _measure(stand, way, mode, clients, seconds) for way in stand.ways}
            figures = interleave(ways, rounds)
            print(
                f"\npgbench -S -M {mode}, {clients} client{'s' if clients > 1 else ''}, {rounds} rounds of {seconds} s"
            )
            for way, figure in figures.items():
                added = (1 / figure.median - 1 / figures["direct"].median) * clients * 1e6
                of_direct, of_relay = ratio(figures, way, "direct"), ratio(figures, way, "C relay")
                print(
                    f"  {way:<10} {figure.median:>8.0f} tps   {of_direct:.2f} of direct   {of_relay:.2f} of the C relay"
                    f"   {figure.extra_median('cpu_us'):>5.1f} µs CPU each   {added:>6.1f} µs added"
                )
