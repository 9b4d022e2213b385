from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from taskgate.recording.stored_zip import is_canonical, write

NAMES = ["a.txt", "b/ž.bin", "empty"]


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "b").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"hello")
    (folder / "b" / "ž.bin").write_bytes(bytes(range(256)))
    (folder / "empty").write_bytes(b"")
    target = tmp_path / "x.zip"
    with target.open("wb") as file:
        write(file, folder, NAMES)
    return target


def test_any_zip_program_reads_it(packed: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        assert archive.namelist() == NAMES
        assert archive.testzip() is None
        assert archive.read("b/ž.bin") == bytes(range(256))
        archive.extractall(tmp_path / "out")
    assert (tmp_path / "out" / "a.txt").read_bytes() == b"hello"
    tested = subprocess.run([sys.executable, "-m", "zipfile", "-t", str(packed)], capture_output=True, check=False)
    assert tested.returncode == 0


def canonical(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return is_canonical(path, archive)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, RuntimeError, EOFError):
        return False


def test_it_has_one_form(packed: Path) -> None:
    assert canonical(packed)
    whole = packed.read_bytes()
    # Every byte that is not an entry's own: those the CRC tells of, others the manifest does.
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        packed.write_bytes(changed)
        assert not canonical(packed), position


@pytest.mark.parametrize("extra", [b"\0", b"comment"])
def test_nothing_before_or_after(packed: Path, extra: bytes) -> None:
    whole = packed.read_bytes()
    packed.write_bytes(whole + extra)
    assert not canonical(packed)
    packed.write_bytes(extra + whole)
    assert not canonical(packed)


def test_a_zip_by_another_program(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "y.zip", "w") as archive:
        archive.writestr("a.txt", b"hello")
    assert not canonical(tmp_path / "y.zip")
