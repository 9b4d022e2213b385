from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from taskgate.errors import GatewayFault
from taskgate.recording.storage import Finished, LocalFolder, safe_id

WHEN = datetime(2026, 3, 9, tzinfo=UTC)


def test_a_recording_is_there_once_it_is_stored(tmp_path: Path) -> None:
    storage = LocalFolder(tmp_path)
    storage.draft("ses_1").write_bytes(b"one")
    assert storage.open("ses_1") is None
    assert list(storage.drafts()) == ["ses_1"]
    storage.store([Finished("ses_1", WHEN)])
    file = storage.open("ses_1")
    assert file is not None
    with file:
        assert file.read() == b"one"
    assert (tmp_path / "2026" / "03" / "ses_1.tgr").exists()
    assert list(storage.drafts()) == []
    assert list(storage.sessions()) == ["ses_1"]


def test_nothing_but_a_plain_file_is_a_recording(tmp_path: Path) -> None:
    storage = LocalFolder(tmp_path)
    folder = tmp_path / "2026" / "03"
    folder.mkdir(parents=True)
    (tmp_path / "elsewhere").write_bytes(b"not here")
    (folder / "ses_1.tgr").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(folder / "ses_2.tgr")
    (folder / "ses_3.tgr").mkdir()
    assert [storage.open(f"ses_{number}") for number in (1, 2, 3)] == [None, None, None]


def test_replace(tmp_path: Path) -> None:
    storage = LocalFolder(tmp_path)
    (tmp_path / "new").write_bytes(b"two")
    with pytest.raises(GatewayFault):
        storage.replace("ses_1", tmp_path / "new")
    storage.draft("ses_1").write_bytes(b"one")
    storage.store([Finished("ses_1", WHEN)])
    storage.replace("ses_1", tmp_path / "new")
    assert (tmp_path / "2026" / "03" / "ses_1.tgr").read_bytes() == b"two"


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "*", "a\n", "ä", "x" * 129])
def test_ids_that_could_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(GatewayFault):
        safe_id(name)
    with pytest.raises(GatewayFault):
        LocalFolder(tmp_path).open(name)
