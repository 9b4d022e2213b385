"""Where finished recordings are kept. A local folder here; an object store is another class with these methods."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from taskgate.errors import GatewayFault
from taskgate.recording.keys import sync_folder

SUFFIX = ".tgr"
_ERASING = f"{SUFFIX}.erasing"
_SAFE = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")


@dataclass(frozen=True, slots=True)
class Finished:
    """A recording whose draft is complete and on disk."""

    session_id: str
    opened_at: datetime


class RecordingStorage(Protocol):
    """Called from threads. A recording is there whole or not at all."""

    def draft(self, session_id: str) -> Path:
        """A local path to write the recording to; the same one until it is stored."""

    def drafts(self) -> Iterator[str]:
        """Sessions whose recording is being written."""

    def erasing(self, session_id: str) -> Path:
        """A local path to write an existing recording without its content to, until it replaces it."""

    def erasing_folder(self) -> Path:
        """The local folder that those are in."""

    def being_erased(self) -> Iterator[str]:
        """Sessions that there is one of."""

    def store(self, finished: Sequence[Finished]) -> None:
        """The drafts are complete and on disk: make them the recordings. Storing one again is the same as once."""

    def replace(self, session_id: str, draft: Path) -> None:
        """Put another file in an existing recording's place (its content was erased)."""

    def open(self, session_id: str) -> BinaryIO | None:
        """The finished recording, seekable; None where there is none."""

    def sessions(self) -> Iterator[str]: ...


def is_safe_id(session_id: str) -> bool:
    """Whether it may become part of a path. Raises TypeError for what is no text."""
    return _SAFE.match(session_id) is not None


def safe_id(session_id: str) -> str:
    """Raises GatewayFault for what may not become part of a path."""
    if not is_safe_id(session_id):
        raise GatewayFault("taskgate: not a session id")
    return session_id


class LocalFolder:
    """`<folder>/<yyyy>/<mm>/<session id>.tgr`, drafts in `<folder>/drafts`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._months: set[Path] = set()  # folders that are durable themselves

    def draft(self, session_id: str) -> Path:
        return self.erasing_folder() / (safe_id(session_id) + SUFFIX)

    def drafts(self) -> Iterator[str]:
        for path in sorted((self._folder / "drafts").glob(f"*{SUFFIX}")):
            yield path.stem

    def erasing(self, session_id: str) -> Path:
        return self.erasing_folder() / (safe_id(session_id) + _ERASING)

    def erasing_folder(self) -> Path:
        drafts = self._folder / "drafts"
        drafts.mkdir(parents=True, exist_ok=True, mode=0o700)
        return drafts

    def being_erased(self) -> Iterator[str]:
        for path in sorted((self._folder / "drafts").glob(f"*{_ERASING}")):
            session_id = path.name.removesuffix(_ERASING)
            if is_safe_id(session_id) and path.is_file():
                yield session_id

    def store(self, finished: Sequence[Finished]) -> None:
        """A folder's sync costs as much as a file's: one for all that came into it."""
        changed = {self._folder / "drafts"} if finished else set()
        fresh = set()
        for one in finished:
            draft = self.draft(one.session_id)
            folder = self._folder / f"{one.opened_at:%Y}" / f"{one.opened_at:%m}"
            if folder not in self._months:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                changed |= {folder.parent, self._folder}
                fresh.add(folder)
            draft.rename(folder / draft.name)
            changed.add(folder)
        for folder in changed:
            sync_folder(folder)
        self._months |= fresh

    def replace(self, session_id: str, draft: Path) -> None:
        path = self._path(session_id)
        if path is None:
            raise GatewayFault(f"taskgate: there is no finished recording of session {session_id}")
        draft.replace(path)
        sync_folder(path.parent)

    def open(self, session_id: str) -> BinaryIO | None:
        path = self._path(session_id)
        return path.open("rb") if path else None

    def sessions(self) -> Iterator[str]:
        for path in sorted(self._folder.glob(f"[0-9]*/[0-9]*/*{SUFFIX}")):
            yield path.stem

    def _path(self, session_id: str) -> Path | None:
        """Links are not followed, and nothing that could be waited for is opened: such a thing is no recording."""
        found = self._folder.glob(f"[0-9]*/[0-9]*/{safe_id(session_id)}{SUFFIX}")
        return next((path for path in found if path.is_file() and not path.is_symlink()), None)
