"""Times and amounts as people read them. Always UTC, always said so."""

from __future__ import annotations

from datetime import UTC, datetime


def clock(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if moment else "—"


def length(seconds: float) -> str:
    """`850 ms`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 1:
        milliseconds = max(seconds, 0) * 1000
        return f"{milliseconds:.0f} ms" if milliseconds >= 10 or milliseconds == 0 else f"{milliseconds:.2g} ms"
    whole = int(seconds)
    for unit, name, smaller, smaller_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            rest = whole % unit // smaller
            return f"{whole // unit} {name}" + (f" {rest} {smaller_name}" if rest else "")
    return f"{whole} s"


def since(moment: datetime) -> str:
    return f"{length((datetime.now(UTC) - moment).total_seconds())} ago"


def until(moment: datetime) -> str:
    left = (moment - datetime.now(UTC)).total_seconds()
    return f"in {length(left)}" if left > 0 else "over"
