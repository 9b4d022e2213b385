"""Where `sessions replay` gets a session's records: from a gateway, or offline from a bundle or data folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import orjson

from taskgate.client import Client, models
from taskgate.errors import ClientFault
from taskgate.recording.bundle import MANIFEST, from_line, open_bundle, read_lines, session_file
from taskgate.recording.header import Header, Record
from taskgate.recording.recordings import Recordings
from taskgate.recording.records import RecordKind


def of_gateway(gateway: Client, session_id: str) -> Iterator[Record]:
    """Over the API. To be looked at, not verified: the headers' own bytes do not come along."""
    return (_record(session_id, record) for record in gateway.records(session_id))


def _record(session_id: str, record: models.Record) -> Record:
    header = Header(
        session=session_id,
        policy=record.policy_version or "",
        target="",
        seq=record.sequence,
        kind=RecordKind(record.kind),
        time=int(record.at.timestamp() * 1_000_000) * 1000,
        previous="",
        commitment="",
        raw=b"",
    )
    return Record(header, raw_content=None if record.content is None else orjson.dumps(record.content))


def of_bundle(path: Path, session_id: str, stack: ExitStack) -> Iterator[Record]:
    """Offline. `stack` closes what is opened. Raises GatewayFault, ClientFault."""
    if (path / "checkpoints").is_dir() and not (path / MANIFEST).exists():
        return Recordings(path).read(session_id)
    bundle = stack.enter_context(closing(open_bundle(path)))
    try:
        file = stack.enter_context(bundle.open(session_file(session_id)))
    except KeyError:
        raise ClientFault(f"the bundle holds no session {session_id}") from None
    return (from_line(line) for line in read_lines(file))
