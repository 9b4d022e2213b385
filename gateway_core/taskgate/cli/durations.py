"""Durations on the command line: `90`, `30s`, `10m`, `4h`, `1d`."""

from __future__ import annotations

import re

import typer

_FORM = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)?")
_SECONDS = {None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float:
    """Raises typer.BadParameter. For `typer.Option(parser=seconds)`."""
    if not (match := _FORM.fullmatch(text.strip())):
        raise typer.BadParameter("a duration looks like 90, 30s, 10m, 4h or 1d")
    return float(match[1]) * _SECONDS[match[2]]
