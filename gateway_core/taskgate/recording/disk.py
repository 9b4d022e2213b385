"""The few system calls the journal makes, in one place, so that a failing disk can be put in their stead."""

from __future__ import annotations

import os
from pathlib import Path

from taskgate.recording.keys import sync_folder


class Disk:
    """Real calls. All raise OSError."""

    def create(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, descriptor: int, data: memoryview) -> int:
        return os.write(descriptor, data)

    def truncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        os.fdatasync(descriptor) if hasattr(os, "fdatasync") else os.fsync(descriptor)

    def links(self, descriptor: int) -> int:
        """How many names the file has: none once somebody has removed it."""
        return os.fstat(descriptor).st_nlink

    def sync_folder(self, folder: Path) -> None:
        sync_folder(folder)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)
