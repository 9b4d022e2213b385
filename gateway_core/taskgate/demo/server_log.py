"""What the demo's PostgreSQL really ran, from its own log: the other side's word, not the gateway's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(r"^\S+ \S+ \S+ \[\d+\] (?P<application>.*?) ?LOG:  (?:statement|execute [^:]*): (?P<text>.*)$")


@dataclass(frozen=True, slots=True)
class RanStatement:
    """`session` is the gateway's session id, which it puts into application_name."""

    session: str
    text: str


def statements(log_file: Path, session_id: str | None = None) -> list[RanStatement]:
    """The statements of sessions through the gateway, in order; those of one session if it is given."""
    found = []
    for line in log_file.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        session = re.search(r"ses_[0-9a-z-]+", match["application"])
        if session and session_id in (None, session[0]):
            found.append(RanStatement(session[0], match["text"]))
    return found
