from __future__ import annotations

import os
from pathlib import Path

import pytest

from taskgate.secrets import SecretFault, SecretSources


def private(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("content", "value"),
    [(b"hunter2", "hunter2"), (b"hunter2\n", "hunter2"), (b"hunter2\r\n", "hunter2"), (b"hunter2\n\n", "hunter2\n"),
     (b" hunter2 ", " hunter2 "), ("pässword".encode(), "pässword")],
)  # fmt: skip
async def test_one_newline_is_stripped_and_nothing_else(tmp_path: Path, content: bytes, value: str) -> None:
    path = private(tmp_path / "secret", content)
    assert (await SecretSources().fetch(f"file:{path}")).reveal() == value


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o602, 0o610, 0o601])
async def test_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "secret", b"hunter2", mode)
    with pytest.raises(SecretFault, match=f"{mode:04o}") as refused:
        await SecretSources().fetch(f"file:{path}")
    assert refused.value.hint == f"chmod 600 {path}"
    assert "hunter2" not in str(refused.value)


async def test_mode_of_what_a_link_points_to_counts(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(private(tmp_path / "secret", b"hunter2", 0o644))
    with pytest.raises(SecretFault):
        await SecretSources().fetch(f"file:{link}")


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * (64 * 1024 + 1)])
async def test_content_that_is_no_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    path = private(tmp_path / "secret", content)
    with pytest.raises(SecretFault):
        await SecretSources().fetch(f"file:{path}")


async def test_missing_relative_and_irregular_files_are_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    for reference in (f"file:{tmp_path / 'none'}", "file:secret", f"file:{tmp_path}", f"file:{fifo}", "file:/a\x00b"):
        with pytest.raises(SecretFault):
            await SecretSources().fetch(reference)
