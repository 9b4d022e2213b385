"""What a run's processes leave each other, with everything that may be in the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from taskgate_prefect import run_token_file
from taskgate_prefect.run_faults import RunFilesBusy, RunFilesUnsafe
from taskgate_prefect.run_token_file import folder, forget, token_file

SECRET = "tgr_1.one-time-secret"
TOKEN = "tgr_1.the-token-that-lasts"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def keep() -> None:
    with token_file(SECRET) as file:
        file.keep(TOKEN)


def kept() -> str | None:
    with token_file(SECRET) as file:
        return file.token()


def the(end: str) -> Path:
    (found,) = folder().glob(f"*.{end}")
    return found


def test_what_is_kept_is_found_by_the_secret_and_by_nothing_else() -> None:
    assert kept() is None
    keep()
    assert kept() == TOKEN
    with token_file(SECRET + "x") as file:
        assert file.token() is None
    assert not [one for one in folder().iterdir() if "one-time" in one.name]


def test_only_its_user_can_look() -> None:
    keep()
    assert folder().stat().st_mode & 0o777 == 0o700
    assert {one.stat().st_mode & 0o777 for one in folder().iterdir()} == {0o600}


def link_elsewhere(temporary: Path) -> None:
    (temporary / "elsewhere").mkdir(mode=0o700)
    folder().symlink_to(temporary / "elsewhere")


def plain_file(temporary: Path) -> None:
    folder().touch(mode=0o700)


def open_to_others(temporary: Path) -> None:
    folder().mkdir()
    folder().chmod(0o770)


@pytest.mark.parametrize("made", [link_elsewhere, plain_file, open_to_others])
def test_a_folder_that_somebody_else_may_have_made_is_not_used(temporary: Path, made: Callable[[Path], None]) -> None:
    made(temporary)
    with pytest.raises(RunFilesUnsafe, match="this user's") as caught, token_file(SECRET):
        raise AssertionError("let in")
    assert "TMPDIR" in str(caught.value.hint)
    assert not list(temporary.glob("*/*"))


def test_a_folder_of_somebody_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """This user's folder, looked at by another one."""
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with pytest.raises(RunFilesUnsafe, match="not this user's alone"), token_file(SECRET):
        raise AssertionError("let in")


@pytest.mark.parametrize("end", ["token", "lock"])
def test_a_link_in_the_folder_is_not_followed(temporary: Path, end: str) -> None:
    keep()
    target = temporary / "target"
    target.write_text(f"{TOKEN}\n")
    target.chmod(0o600)
    place = the(end)
    place.unlink()
    place.symlink_to(target)
    with pytest.raises(RunFilesUnsafe, match="no plain file"):
        kept()
    assert target.read_text() == f"{TOKEN}\n"


def test_a_file_that_others_may_read_is_not_believed() -> None:
    keep()
    the("token").chmod(0o644)
    with pytest.raises(RunFilesUnsafe, match="not this user's alone"):
        kept()


@pytest.mark.parametrize("text", ["", TOKEN, "\n", f"{TOKEN[:5]}\0\n", "two words\n", f"{TOKEN}\nmore\n", "ü\n"])
def test_half_a_token_is_not_taken_for_one(text: str) -> None:
    keep()
    the("token").write_text(text)
    with pytest.raises(RunFilesUnsafe, match="does not hold a token") as caught:
        kept()
    assert TOKEN not in str(caught.value)


def test_what_a_process_left_half_written_is_nothing() -> None:
    with token_file(SECRET):
        pass
    half = the("lock").with_suffix(".token.new")
    half.write_text(TOKEN[:5])
    assert kept() is None
    keep()
    assert kept() == TOKEN
    assert not half.exists()


def test_who_has_asked_is_remembered_until_a_token_has_come_of_it() -> None:
    with token_file(SECRET) as file:
        assert not file.asked
        file.asked = True
    with token_file(SECRET) as file:
        assert file.asked
        file.keep(TOKEN)
        assert not file.asked


def test_one_at_a_time() -> None:
    inside: list[int] = []
    most: list[int] = []

    def enter() -> None:
        with token_file(SECRET):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)
    assert most == [1] * 8


HOLD = """
import sys, tempfile, time
tempfile.tempdir = sys.argv[1]
from taskgate_prefect.run_token_file import token_file
with token_file(sys.argv[2]) as file:
    file.asked = True
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_holder_that_dies_lets_go_and_one_that_does_not_is_not_waited_for_for_ever(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_token_file, "_LONGEST_WAIT", 0.3)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(temporary), SECRET], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunFilesBusy, match="has held"):
            kept()
        holder.send_signal(signal.SIGKILL)
        holder.wait(20)
    with token_file(SECRET) as file:
        assert file.asked


def test_what_is_forgotten_is_gone() -> None:
    keep()
    forget(SECRET)
    assert not list(folder().iterdir())
    forget(SECRET)


def test_forgetting_touches_nothing_in_an_unsafe_folder(temporary: Path) -> None:
    keep()
    folder().chmod(0o777)
    forget(SECRET)
    assert the("token").exists()


def test_what_nobody_has_looked_at_for_a_week_goes() -> None:
    keep()
    old = time.time() - 8 * 86400
    for one in folder().iterdir():
        os.utime(one, (old, old))
    with token_file(SECRET + "x"):
        pass
    assert not list(folder().glob("*.token"))
    keep()
    os.utime(the("token"), (old + 2 * 86400, old + 2 * 86400))
    assert kept() == TOKEN
    assert the("token").stat().st_mtime > time.time() - 60
