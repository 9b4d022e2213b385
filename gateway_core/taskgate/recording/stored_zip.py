"""Zip files with one possible form: nothing compressed, one fixed time, ZIP64 throughout, entries one after the other.

Any zip program reads them. Since names, sizes and CRCs determine every other byte, a reader can check that a file holds
nothing but its entries (APPNOTE.TXT 6.3, sections 4.3.7 to 4.3.16, 4.5.3).
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfileobj
from struct import pack
from typing import BinaryIO
from zlib import crc32

_VERSION = 45  # ZIP64
_UTF8 = 0x0800
_DATE = 0x0021  # 1980-01-01
_FULL = 0xFFFFFFFF
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    size: int
    crc: int


def _layout(entries: Sequence[Entry]) -> Iterator[bytes | Entry]:
    """The file in pieces: bytes, and where an entry's data go the entry."""
    offset, central = 0, b""
    for entry in entries:
        name = entry.name.encode()
        fixed = pack("<HHHHLLL", _UTF8, 0, 0, _DATE, entry.crc, _FULL, _FULL)
        local = b"PK\3\4" + pack("<H", _VERSION) + fixed + pack("<HH", len(name), 20)
        local += name + pack("<HHQQ", 1, 16, entry.size, entry.size)
        yield local
        yield entry
        central += b"PK\1\2" + pack("<HH", 3 << 8 | _VERSION, _VERSION) + fixed
        central += pack("<HHHHHLL", len(name), 28, 0, 0, 0, 0o100600 << 16, _FULL) + name
        central += pack("<HHQQQ", 1, 24, entry.size, entry.size, offset)
        offset += len(local) + entry.size
    count, end = len(entries), offset + len(central)
    yield central
    yield b"PK\6\6" + pack("<QHHLLQQQQ", 44, 3 << 8 | _VERSION, _VERSION, 0, 0, count, count, len(central), offset)
    yield b"PK\6\7" + pack("<LQL", 0, end, 1)
    yield b"PK\5\6" + pack("<HHHHLLH", 0, 0, 0xFFFF, 0xFFFF, _FULL, _FULL, 0)


def write(target: BinaryIO, folder: Path, names: Sequence[str]) -> None:
    """Pack these files of `folder`, in this order."""
    for piece in _layout([_measured(folder / name, name) for name in names]):
        if isinstance(piece, Entry):
            with (folder / piece.name).open("rb") as source:
                copyfileobj(source, target, _CHUNK)
        else:
            target.write(piece)


def _measured(path: Path, name: str) -> Entry:
    with path.open("rb") as file:
        return Entry(name, *_size_and_crc(file))


def _size_and_crc(file: BinaryIO) -> tuple[int, int]:
    size = crc = 0
    while chunk := file.read(_CHUNK):
        size += len(chunk)
        crc = crc32(chunk, crc)
    return size, crc


def is_canonical(path: Path, archive: zipfile.ZipFile) -> bool:
    """Whether the file at `path` is byte for byte what `write` makes of its entries. Raises zipfile.BadZipFile."""
    entries = []
    for info in archive.infolist():
        with archive.open(info) as data:
            entries.append(Entry(info.filename, *_size_and_crc(data)))  # type: ignore[arg-type]
    if len({entry.name for entry in entries}) != len(entries):
        return False
    with path.open("rb") as file:
        for piece in _layout(entries):
            if isinstance(piece, Entry):
                file.seek(piece.size, 1)
            elif file.read(len(piece)) != piece:
                return False
        return not file.read(1)
