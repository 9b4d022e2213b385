"""A disk that fails where a test says. Everything else it does for real."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from taskgate.recording.disk import Disk


class FaultyDisk(Disk):
    def __init__(self) -> None:
        self.room: int | None = None  # bytes until ENOSPC
        self.write_error: int | None = None
        self.truncate_error: int | None = None
        self.sync_error: int | None = None
        self.create_error: int | None = None
        self.chunk: int | None = None  # most bytes that one write takes
        self.writes = 0
        self.syncs = 0
        self.sync_seconds = 0.0  # that each sync takes
        self.gate: threading.Event | None = None  # syncs wait for it
        self.on_failed_sync: Callable[[int], None] | None = None

    def create(self, path: Path) -> int:
        if self.create_error:
            raise OSError(self.create_error, os.strerror(self.create_error))
        return super().create(path)

    def write(self, descriptor: int, data: memoryview) -> int:
        self.writes += 1
        if self.write_error:
            raise OSError(self.write_error, os.strerror(self.write_error))
        if self.chunk is not None:
            data = data[: self.chunk]
        if self.room is not None:
            if not self.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            data = data[: self.room]
            self.room -= len(data)
        return super().write(descriptor, data)

    def truncate(self, descriptor: int, size: int) -> None:
        if self.truncate_error:
            raise OSError(self.truncate_error, os.strerror(self.truncate_error))
        super().truncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        self.syncs += 1
        if self.gate is not None:
            self.gate.wait(30)
        time.sleep(self.sync_seconds)
        if self.sync_error:
            if self.on_failed_sync:
                self.on_failed_sync(descriptor)
            raise OSError(self.sync_error, os.strerror(self.sync_error))
        super().sync(descriptor)
