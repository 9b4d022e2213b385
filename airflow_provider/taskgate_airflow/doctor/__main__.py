"""`python -m taskgate_airflow.doctor`: exits 1 where something is wrong, 0 otherwise.

Airflow 3.1 and 3.2 log to standard output while they are imported and while they end. There only the findings belong,
so everything else is sent to standard error, before Airflow is imported.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import TextIO

from taskgate_airflow.doctor.finding import Finding, Level


def main(arguments: Sequence[str] | None = None, out: TextIO | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m taskgate_airflow.doctor",
        description="Check whether this Airflow's tasks go through Taskgate, and through nothing else.",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    as_json: bool = parser.parse_args(arguments).json
    from taskgate_airflow.doctor.examination import examine

    found = examine()
    text = json.dumps([_plain(one) for one in found], indent=2) if as_json else "\n".join(_lines(found))
    print(text, file=out or sys.stdout, flush=True)
    return 1 if any(one.level is Level.FAIL for one in found) else 0


def _plain(one: Finding) -> dict[str, str | None]:
    return {"check": one.check, "level": one.level.value, "found": one.found, "do": one.do}


def _lines(found: Sequence[Finding]) -> list[str]:
    width = max(len(one.check) for one in found)
    lines = []
    for one in found:
        lines.append(f"{one.level.value:<4}  {one.check:<{width}}  {_visible(one.found)}")
        if one.do:
            lines.append(f"{'':<4}  {'':<{width}}  → {_visible(one.do)}")
    return lines


def _visible(text: str) -> str:
    """On one line: names of connections and tasks were chosen by others."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _stdout_for_findings_alone() -> TextIO:
    found = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return found


if __name__ == "__main__":
    sys.exit(main(out=_stdout_for_findings_alone()))
