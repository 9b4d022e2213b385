"""One file of a journal: frames are appended, nothing is ever changed.

A write is whole or it is taken back: when the disk fails in the middle, the file is cut to where it was. Where even
that fails the segment is given up (`trusted` is False); readers know a torn tail when they see one.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from taskgate.recording.disk import Disk


class Segment:
    def __init__(self, number: int, path: Path, disk: Disk) -> None:
        """Creates the file. Raises OSError."""
        self.number = number
        self.path = path
        self.size = 0
        self.trusted = True
        self.in_folder = False  # its folder has been synced since it was created
        self._disk = disk
        self._descriptor: int | None = disk.create(path)

    def append(self, data: bytes) -> int:
        """Write all of it; returns the offset it starts at. Raises OSError with the file as it was before."""
        if self._descriptor is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        rest = memoryview(data)
        try:
            while rest:
                written = self._disk.write(self._descriptor, rest)  # EINTR is retried by os.write itself (PEP 475)
                if written <= 0:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                rest = rest[written:]
        except BaseException:
            self._take_back()
            raise
        offset = self.size
        self.size += len(data)
        return offset

    def _take_back(self) -> None:
        try:
            if self._descriptor is not None:
                self._disk.truncate(self._descriptor, self.size)
        except OSError:
            self.trusted = False

    def sync(self) -> None:
        """Called from the syncing thread. Raises OSError, also where the file was removed: a sync of it succeeds, and
        nobody will ever find what it made durable."""
        if self._descriptor is not None:
            self._disk.sync(self._descriptor)
            if not self._disk.links(self._descriptor):
                raise OSError(errno.ENOENT, "a segment was removed by somebody else")
        if not self.in_folder:
            self._disk.sync_folder(self.path.parent)
            self.in_folder = True

    @property
    def open(self) -> bool:
        return self._descriptor is not None

    def close(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):  # everything in it is on disk, or written again elsewhere
                self._disk.close(self._descriptor)
            self._descriptor = None
