"""Bundles for chosen sessions: read and checked offline, by people who have no access to the gateway."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from time import sleep, time_ns

import orjson

from taskgate.errors import ClientFault, GatewayFault
from taskgate.recording import stored_zip
from taskgate.recording.bundle import (
    CHECKPOINTS,
    FORMAT,
    MANIFEST,
    POLICIES,
    PUBLIC_KEY,
    SIGNATURE,
    Manifest,
    ManifestSession,
    session_file,
    to_line,
)
from taskgate.recording.checkpoints import FILE as CHECKPOINT_FILE
from taskgate.recording.checkpoints import Checkpoint, read_checkpoints, wait_for_append
from taskgate.recording.header import NO_PREVIOUS
from taskgate.recording.keys import SigningKey
from taskgate.recording.policy_texts import PolicyTexts, policy_file
from taskgate.recording.recordings import Recordings
from taskgate.recording.records import RecordKind


def export(
    data_dir: Path,
    target: Path,
    sessions: Sequence[str] | None,
    *,
    contents: bool = True,
    recordings: Recordings | None = None,
) -> Manifest:
    """Write a bundle with these sessions (None: every one there is) to `target`: a zip file where it ends in `.zip`, a
    folder otherwise. Contents are in clear: they were masked before they were recorded, and are confidential all the
    same. Memory stays bounded. Raises GatewayFault (no such session, no key), ClientFault (target exists), OSError."""
    if target.exists():
        raise ClientFault(f"taskgate: {target} exists already; a bundle never replaces anything")
    signing_path = data_dir / "keys" / "checkpoint.key"
    if not signing_path.exists():
        raise GatewayFault(f"taskgate: there is no signing key at {signing_path}: not a gateway's data folder")
    key, recordings = SigningKey.at(signing_path), recordings or Recordings(data_dir, contents=contents)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as temporary:
        for attempt in range(1, _ATTEMPTS + 1):
            folder = Path(temporary) / f"bundle{attempt}"
            folder.mkdir(mode=0o700)
            exporter = _Exporter(data_dir, key, recordings)
            manifest = exporter.write(folder, sessions, contents=contents)
            if not exporter.unsigned or attempt == _ATTEMPTS:
                break
            sleep(_PAUSE)  # a session has just begun or ended: it is signed for within a moment
        if target.suffix == ".zip":
            packed = Path(temporary) / "bundle.zip"
            names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
            with os.fdopen(os.open(packed, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                stored_zip.write(file, folder, names)
            packed.rename(target)
        else:
            folder.rename(target)
    return manifest


_ATTEMPTS = 12
_PAUSE = 0.25


class _Exporter:
    def __init__(self, data_dir: Path, key: SigningKey, recordings: Recordings) -> None:
        self._data_dir = data_dir
        self._key = key
        self._recordings = recordings
        self._files: dict[str, str] = {}
        self._policies: set[str] = set()
        # What no checkpoint here signed for: hashes of sessions' ends, ids of sessions that are open.
        self.unsigned: set[str] = set()

    def write(self, folder: Path, sessions: Sequence[str] | None, *, contents: bool) -> Manifest:
        # When it is made, first of all: every checkpoint that says to be older is in it.
        created = time_ns()
        wait_for_append(self._data_dir / "checkpoints" / CHECKPOINT_FILE)
        # Before the sessions: checkpoints speak of what is on disk, so no record they name can be missing below.
        count = self._checkpoints(folder)
        chosen = self._recordings.sessions() if sessions is None else list(dict.fromkeys(sessions))
        written = tuple(self._session(folder, session, contents) for session in chosen)
        self._look_for_signed(folder)
        self._put(folder, PUBLIC_KEY, self._key.public.pem)
        texts = PolicyTexts(self._data_dir)
        for version in sorted(self._policies):
            text = texts.get(version)
            if text is not None:
                self._put(folder, f"{POLICIES}{policy_file(version)}.json", text)
        manifest = Manifest(FORMAT, created, contents, sessions is None, count, written, self._files)
        raw = orjson.dumps(manifest)
        (folder / MANIFEST).write_bytes(raw)
        signature = {"key": self._key.public.id, "signature": self._key.sign(raw)}
        (folder / SIGNATURE).write_bytes(orjson.dumps(signature))
        return manifest

    def _checkpoints(self, folder: Path) -> int:
        digest, count = sha256(), 0
        with (folder / CHECKPOINTS).open("xb") as file:
            for line in read_checkpoints(self._data_dir / "checkpoints" / CHECKPOINT_FILE):
                file.write(line + b"\n")
                digest.update(line + b"\n")
                count += 1
        self._files[CHECKPOINTS] = digest.hexdigest()
        return count

    def _look_for_signed(self, folder: Path) -> None:
        for line in read_checkpoints(folder / CHECKPOINTS):
            if not self.unsigned:
                return
            for one in Checkpoint.parse(line).body.sessions:
                self.unsigned -= {one.head, one.session}

    def _session(self, folder: Path, session_id: str, contents: bool) -> ManifestSession:
        path = folder / session_file(session_id)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        digest, count, head, closed = sha256(), 0, NO_PREVIOUS, False
        with path.open("xb") as file:
            for record in self._recordings.read(session_id):
                line = to_line(record, contents=contents)
                file.write(line)
                digest.update(line)
                self._policies.add(record.header.policy)
                count, head = count + 1, record.header.hash()
                closed = record.kind is RecordKind.SESSION_CLOSED
        self.unsigned.add(head if closed else session_id)
        self._files[session_file(session_id)] = digest.hexdigest()
        return ManifestSession(session_id, count, head)

    def _put(self, folder: Path, name: str, data: bytes) -> None:
        path = folder / name
        path.parent.mkdir(exist_ok=True, mode=0o700)
        path.write_bytes(data)
        self._files[name] = sha256(data).hexdigest()
