"""All that an Airflow and its gateway have written since a moment, to be searched for what must not be there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from taskgate.recording.recordings import Recordings
from tests.e2e.real_airflow import RealAirflow
from tests.e2e.shop import Shop


@dataclass(frozen=True, slots=True)
class Trace:
    """`place` names it: `metadata:xcom`, `log:scheduler.log`, `gateway:data/store.db`, `recording:ses_…`."""

    place: str
    text: bytes

    def has(self, text: str) -> bool:
        """As it is, or backwards: who wants past a mask that looks for the one writes the other."""
        return text.encode() in self.text or text[::-1].encode() in self.text


class Traces:
    """Rows that were there at the start and what logs held then is left out: earlier tests may publish what they like,
    these not. The gateway's files are searched whole, but for those that hold the target's password for it."""

    def __init__(self, airflow: RealAirflow, shop: Shop) -> None:
        self._airflow = airflow
        self._shop = shop
        self._rows = set(airflow.metadata.rows())
        self._read = {path: path.stat().st_size for path in airflow.files() if path.exists()}

    def metadata(self) -> list[Trace]:
        """New rows of every table, encrypted values in clear too."""
        return [
            Trace(f"metadata:{table}", row)
            for table, row in self._airflow.metadata.rows()
            if (table, row) not in self._rows
        ]

    def logs(self) -> list[Trace]:
        """What tasks and components have logged."""
        found = []
        for path in self._airflow.files():
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                found.append(Trace(f"log:{path.relative_to(self._airflow.directory)}", file.read()))
        return found

    def gateway(self) -> Iterator[Trace]:
        """Its log, its store, recordings as they lie there, settings and keys."""
        directory = self._shop.gateway.directory
        for path in directory.rglob("*"):
            if path.is_file() and path.suffix != ".secret":
                yield Trace(f"gateway:{path.relative_to(directory)}", path.read_bytes())

    def recordings(self, sessions: Iterable[str]) -> Iterator[Trace]:
        """What a reviewer reads of these sessions."""
        recordings = Recordings(Path(self._shop.gateway.directory) / "data")
        for session in sessions:
            for record in recordings.read(session):
                yield Trace(f"recording:{session}", json.dumps(record.content, default=str).encode())


def places(traces: Iterable[Trace], *texts: str) -> set[str]:
    """Where any of these stands; what must stand nowhere gives the empty set, without showing a secret."""
    return {trace.place for trace in traces for text in texts if trace.has(text)}
