"""An exported bundle: all that somebody needs to read and check sessions far away from any gateway.

    manifest.json            what is here: sessions, checkpoints, SHA-256 of every other file
    manifest.sig             {"key": …, "signature": …} over manifest.json, by the key that signs checkpoints
    checkpoints.jsonl        every checkpoint of the gateway, from number 1
    public_key.pem           the key of checkpoints and manifest; whoever verifies should have it from elsewhere
    policies/<version>.json  the policies that the sessions' headers name
    sessions/<id>.jsonl      {"header": {…}, "salt": "…", "content": {…}} a record and line; header alone where the
                             content was erased or left out

As a folder, or as one zip file (stored_zip.py).
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import orjson

from taskgate.errors import GatewayFault
from taskgate.recording.header import SALT_BYTES, Header, Record
from taskgate.recording.stored_zip import is_canonical

FORMAT = 1
MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
CHECKPOINTS = "checkpoints.jsonl"
PUBLIC_KEY = "public_key.pem"
SESSIONS = "sessions/"
POLICIES = "policies/"
MAX_LINE = 1 << 30

# All that reading a damaged zip file may raise.
UNREADABLE = (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True)
class ManifestSession:
    session: str
    records: int
    head: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """`created`: nanoseconds of the epoch; every checkpoint the gateway signed before is here. `contents` is False for
    headers only. `everything` means that every session the gateway knew is here."""

    format: int
    created: int
    contents: bool
    everything: bool
    checkpoints: int
    sessions: tuple[ManifestSession, ...]
    files: dict[str, str]

    @classmethod
    def parse(cls, raw: bytes) -> Manifest:
        """Raises ValueError."""
        try:
            fields: dict[str, Any] = orjson.loads(raw)
            sessions = tuple(ManifestSession(**one) for one in fields["sessions"])
            manifest = cls(**fields | {"sessions": sessions})
        except (TypeError, KeyError):
            raise ValueError("not a manifest") from None
        if not _well_typed(manifest):
            raise ValueError("not a manifest: something in it has the wrong type")
        if manifest.format != FORMAT:
            raise ValueError("not a manifest of a format known here")
        return manifest


def _well_typed(manifest: Manifest) -> bool:
    """Signed or not: who signs may be hostile."""
    numbers = (manifest.format, manifest.created, manifest.checkpoints, *(one.records for one in manifest.sessions))
    texts = [text for one in manifest.sessions for text in (one.session, one.head)]
    return (
        all(type(one) is int for one in numbers)
        and type(manifest.contents) is type(manifest.everything) is bool
        and isinstance(manifest.files, dict)
        and all(type(one) is str for one in (*texts, *manifest.files.values()))
    )


class Bundle(Protocol):
    def names(self) -> list[str]: ...
    def open(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """Raises KeyError where there is no such file."""

    def close(self) -> None: ...
    def strange(self) -> str | None:
        """What is odd about the container itself."""


class FolderBundle:
    """Opens what is in the folder and nothing else, whatever names its manifest has: no link is followed, and nothing
    that is no plain file is opened, since reading that could have effects, or never end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        found = (path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
        self._names = frozenset(path.relative_to(folder).as_posix() for path in found)

    def names(self) -> list[str]:
        return sorted(self._names)

    def open(self, name: str) -> IO[bytes]:
        path = self._folder / name
        if name not in self._names or path.is_symlink() or not path.is_file():
            raise KeyError(name)
        return path.open("rb")

    def close(self) -> None:
        pass

    def strange(self) -> str | None:
        return None


class ZipBundle:
    def __init__(self, path: Path) -> None:
        """Raises zipfile.BadZipFile."""
        self._path = path
        self._archive = zipfile.ZipFile(path)
        self.close = self._archive.close

    def names(self) -> list[str]:
        return sorted(self._archive.namelist())

    def open(self, name: str) -> IO[bytes]:
        info = self._archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED:  # nothing may become larger than the file itself
            raise zipfile.BadZipFile(f"{name} is compressed")
        return self._archive.open(info)

    def strange(self) -> str | None:
        return None if is_canonical(self._path, self._archive) else "the zip file is not as it was exported"


def open_bundle(path: Path) -> Bundle:
    """Raises GatewayFault for what is not a bundle."""
    if path.is_dir():
        if not (path / MANIFEST).is_file() or (path / MANIFEST).is_symlink():
            raise GatewayFault(f"taskgate: {path} is not an exported bundle: it has no {MANIFEST}")
        return FolderBundle(path)
    try:
        bundle = ZipBundle(path)
    except UNREADABLE as error:
        raise GatewayFault(f"taskgate: {path} is not an exported bundle: {error}") from None
    if MANIFEST not in bundle.names():
        bundle.close()
        raise GatewayFault(f"taskgate: {path} is not an exported bundle: it has no {MANIFEST}")
    return bundle


def session_file(session_id: str) -> str:
    return f"{SESSIONS}{session_id}.jsonl"


def to_line(record: Record, *, contents: bool) -> bytes:
    line = b'{"header":' + record.header.raw
    if contents and record.salt is not None and record.raw_content is not None:
        line += b',"salt":"' + record.salt.hex().encode() + b'","content":' + record.raw_content
    return line + b"}\n"


def from_line(line: bytes) -> Record:
    """Raises ValueError unless `line` is exactly what `to_line` makes."""
    if not line.endswith(b"}\n"):
        raise ValueError("the line is cut short")
    fields = orjson.loads(line)
    if not isinstance(fields, dict) or "header" not in fields:
        raise ValueError("not a record")
    header = Header.parse(orjson.dumps(fields["header"]))
    record = Record(header)
    if "content" in fields:
        start = b'{"header":' + header.raw + b',"salt":"' + b"0" * 2 * SALT_BYTES + b'","content":'
        record = Record(header, bytes.fromhex(str(fields.get("salt"))), line[len(start) : -2])
    if to_line(record, contents=True) != line:
        raise ValueError("not written as a gateway writes records")
    return record


def read_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Lines with their newlines. Raises ValueError for one that is absurdly long."""
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise ValueError("the line is too long")
        yield line
