"""`python -m bench`: the figures of README, measured now. `--quick` for a first look, `--only pgbench` for one part."""

from __future__ import annotations

import argparse
import platform
import tempfile
from pathlib import Path

from bench import pgbench
from bench.stand import Stand


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    parser.add_argument("--only", action="append", choices=["pgbench"], help="only these parts")
    chosen = parser.parse_args()
    rounds, seconds = (1, 2) if chosen.quick else (5, 5)
    parts = chosen.only or ["pgbench"]
    print(f"Python {platform.python_version()}, {platform.machine()}, PostgreSQL 15, all on loopback")
    with tempfile.TemporaryDirectory(prefix="taskgate-bench-") as folder, Stand(Path(folder)) as stand:
        if "pgbench" in parts:
            pgbench.report(stand, rounds, seconds)


if __name__ == "__main__":
    main()
