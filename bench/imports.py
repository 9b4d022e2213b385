"""Imports that Taskgate adds to parsing a DAG file, by `python -X importtime`, with and without it announced."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
WITHOUT = str(HERE / "without_taskgate")
_STOCK = HERE / "airflow_dags" / "one_operator.py"


def environment(home: Path, *, without: bool = False) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "TASKGATE"))}
    return {
        **own,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        **({"PYTHONPATH": WITHOUT} if without else {}),
    }


def _self_times(file: Path, given: dict[str, str]) -> dict[str, float]:
    """module → milliseconds of its own, of everything that parsing `file` imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(HERE / "parse_dag.py"), str(file)],
        env=given,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    times: dict[str, float] = {}
    for line in done.stderr.splitlines():
        if line.startswith("import time:") and line.count("|") == 2:
            own, _, name = line.removeprefix("import time:").split("|")
            if own.strip().isdigit():
                times[name.strip()] = times.get(name.strip(), 0.0) + int(own) / 1000
    return times


def report(directory: Path, rounds: int) -> None:
    home = directory / "imports"
    home.mkdir(exist_ok=True)
    governed = home / "governed_operator.py"
    governed.write_text(
        _STOCK.read_text().replace(
            "airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator",
            "taskgate_airflow.operators import GovernedSQLExecuteQueryOperator as SQLExecuteQueryOperator",
        )
    )
    ways = {
        "stock operator": (_STOCK, environment(home)),
        "governed operator": (governed, environment(home)),
    }
    added: dict[str, list[float]] = {name: [] for name in ways}
    slowest: dict[str, dict[str, list[float]]] = {name: {} for name in ways}
    totals: list[float] = []
    for number in range(rounds + 1):
        base = _self_times(_STOCK, environment(home, without=True))
        found = {name: _self_times(file, given) for name, (file, given) in ways.items()}
        if any(name.startswith("taskgate") for name in base):
            raise RuntimeError("Taskgate is imported where it is not announced")
        if number:
            totals.append(sum(base.values()))
            for name, times in found.items():
                more = {module: own for module, own in times.items() if module not in base}
                added[name].append(sum(more.values()))
                for module, own in more.items():
                    slowest[name].setdefault(module.partition(".")[0], []).append(own)
    print(
        f"\nimports added to parsing a DAG file, {rounds} rounds; without Taskgate {statistics.median(totals):.0f} ms"
    )
    for name, values in added.items():
        by_package = {package: sum(own) / rounds for package, own in slowest[name].items()}
        most = sorted(by_package.items(), key=lambda one: -one[1])[:4]
        print(
            f"  {name:<18} {statistics.median(values):>6.0f} ms (at most {max(values):.0f})   "
            + ", ".join(f"{package} {own:.0f}" for package, own in most)
        )
