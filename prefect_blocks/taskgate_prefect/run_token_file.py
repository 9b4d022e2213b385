"""Where the processes of a flow run on one machine leave each other the run's token, and who may exchange for it.

A folder of this user's alone in the system's temporary folder, and in it, under a name derived from the one-time
secret, a lock and the token. The lock is the kernel's (flock): it dies with the process that holds it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from taskgate_prefect.run_faults import RunFilesBusy, RunFilesUnsafe

_LONGEST_WAIT = 60.0  # seconds: an exchange that fails takes a third of it
_LONGEST = 4096  # bytes of a token
_KEPT = 7 * 86400.0  # seconds since it was last looked at
_ELSEWHERE = "Remove it, or set TMPDIR of the worker to a folder that only its user can write to."
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def folder() -> Path:
    return Path(tempfile.gettempdir()) / f"taskgate-runs-{os.geteuid()}"


class RunTokenFile:
    """What is kept for one secret, while its lock is held. `asked`: somebody has begun to exchange the secret, and no
    token has come of it yet."""

    def __init__(self, name: str, directory: int, lock: int) -> None:
        self._name = f"{name}.token"
        self._directory = directory
        self._lock = lock

    @property
    def asked(self) -> bool:
        return os.fstat(self._lock).st_size > 0

    @asked.setter
    def asked(self, value: bool) -> None:
        """Written before the exchange: a disk that is full says so while nothing is spent."""
        os.ftruncate(self._lock, 0)
        if value:
            os.pwrite(self._lock, b"asked\n" * 64, 0)
        os.fsync(self._lock)

    def token(self) -> str | None:
        """What was kept; None where nothing was. Raises RunFilesUnsafe."""
        try:
            file = os.open(self._name, os.O_RDONLY | _FLAGS, dir_fd=self._directory)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RunFilesUnsafe(f"{folder() / self._name} is no plain file: {error.strerror}") from error
        try:
            _check_mine(file, stat.S_ISREG, folder() / self._name)
            os.utime(file)
            text = os.read(file, _LONGEST).decode("ascii", errors="replace")
        finally:
            os.close(file)
        token = text.removesuffix("\n")
        if token == text or not token or any(not "!" <= char <= "~" for char in token):
            raise RunFilesUnsafe(
                f"{folder() / self._name} does not hold a token as it was left there",
                hint="Find out who changed it, then run the flow again.",
            )
        return token

    def keep(self, token: str) -> str:
        """Whole or not at all; returns it."""
        new = f"{self._name}.new"
        with contextlib.suppress(FileNotFoundError):  # half of one, of a process that died
            os.unlink(new, dir_fd=self._directory)
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600, dir_fd=self._directory)
        try:
            os.write(file, f"{token}\n".encode("ascii"))
            os.fsync(file)
        finally:
            os.close(file)
        os.replace(new, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        self.asked = False
        return token


@contextmanager
def token_file(secret: str) -> Iterator[RunTokenFile]:
    """The file for this secret, for one process and thread at a time. Raises RunFilesUnsafe, RunFilesBusy."""
    directory = _open_folder()
    try:
        _sweep(directory)
        name = _name(secret)
        lock = _locked(f"{name}.lock", directory)
        try:
            yield RunTokenFile(name, directory, lock)
        finally:
            os.close(lock)
    finally:
        os.close(directory)


def forget(secret: str) -> None:
    """The run is over on this machine: what is kept for its secret goes. Not while a process of the run may still
    need it: it would take the secret for used."""
    with contextlib.suppress(OSError, RunFilesUnsafe):
        directory = _open_folder()
        try:
            for end in ("token", "token.new", "lock"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{_name(secret)}.{end}", dir_fd=directory)
        finally:
            os.close(directory)


def _name(secret: str) -> str:
    return hashlib.sha256(b"taskgate flow run\0" + secret.encode()).hexdigest()


def _open_folder() -> int:
    path = folder()
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    try:
        opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
    except OSError as error:
        raise RunFilesUnsafe(f"{path} is no folder of this user's: {error.strerror}", hint=_ELSEWHERE) from error
    try:
        _check_mine(opened, stat.S_ISDIR, path)
    except BaseException:
        os.close(opened)
        raise
    return opened


def _check_mine(file: int, kind: Callable[[int], bool], path: Path) -> None:
    found = os.fstat(file)
    if not kind(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise RunFilesUnsafe(f"{path} is not this user's alone", hint=_ELSEWHERE)


def _locked(name: str, directory: int) -> int:
    deadline = time.monotonic() + _LONGEST_WAIT
    while True:
        try:
            lock = os.open(name, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600, dir_fd=directory)
        except OSError as error:
            raise RunFilesUnsafe(f"{folder() / name} is no plain file: {error.strerror}") from error
        try:
            _check_mine(lock, stat.S_ISREG, folder() / name)
            if _try_lock(lock) and _is_there(lock, name, directory):
                return lock
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)
        if time.monotonic() > deadline:
            raise RunFilesBusy(
                f"another process of this flow run has held {folder() / name} for {_LONGEST_WAIT:.0f} s",
                hint="Find out which, end it, and run the flow again.",
            )
        time.sleep(0.05)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_there(lock: int, name: str, directory: int) -> bool:
    """Whether what is locked is what others would lock: it may have been swept away in between."""
    try:
        return os.path.samestat(os.fstat(lock), os.stat(name, dir_fd=directory, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _sweep(directory: int) -> None:
    """What worker and machine left behind when they ended without `forget`: tokens that died with their runs."""
    before = time.time() - _KEPT
    for name in os.listdir(directory):
        with contextlib.suppress(OSError):
            if os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime < before:
                os.unlink(name, dir_fd=directory)
