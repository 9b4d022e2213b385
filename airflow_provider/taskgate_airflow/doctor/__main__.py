"""`python -m taskgate_airflow.doctor`: exits 1 where something is wrong, 0 otherwise."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from taskgate_airflow.doctor import Finding, Level, examine


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m taskgate_airflow.doctor",
        description="Check whether this Airflow's tasks go through Taskgate, and through nothing else.",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    as_json: bool = parser.parse_args(arguments).json
    found = examine()
    text = json.dumps([_plain(one) for one in found], indent=2) if as_json else "\n".join(_lines(found))
    sys.stdout.write(text + "\n")
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


if __name__ == "__main__":
    sys.exit(main())
