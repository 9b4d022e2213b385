"""The policy in force: read once, watched, replaced only by a set that loads.

Files are read and compiled in a thread: a thousand rules take a quarter of a second, and every session waits for the
event loop. Only the swap happens there.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from taskgate.errors import PolicyError
from taskgate.policy.load import load, policy_files
from taskgate.policy.policy_set import PolicySet
from taskgate.policy.problems import Problem

_log = structlog.get_logger(__name__)

Changed = Callable[[PolicySet], None]
_Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class _Read:
    """What the files looked like, and what came of loading them."""

    stamp: _Stamp
    digest: str
    outcome: PolicySet | PolicyError


class PolicyHolder:
    """`current` is the last set that loaded; `error` says what is wrong with the files as they are now, None where they
    are what is in force. Not thread-safe; one event loop."""

    def __init__(self, paths: Iterable[Path | str], *, interval: float = 1.0) -> None:
        """Loads; raises PolicyError where there is nothing good to begin with. `interval` in seconds."""
        self._paths = tuple(Path(path) for path in paths)
        self._interval = interval
        self._subscribers: list[Changed] = []
        self._stamp = self._look()
        self._seen = self._stamp
        self._digest = self._read_digest()
        self.current: PolicySet = load(self._paths)
        self.error: PolicyError | None = None
        self.loaded_at = datetime.now(UTC)
        self.loads = 1
        self.failures = 0
        self._reloading = asyncio.Lock()
        self._asked = asyncio.Event()

    def subscribe(self, changed: Changed) -> Callable[[], None]:
        """Call `changed` with every new set, after it is in force. Returns what ends that."""
        self._subscribers.append(changed)

        def unsubscribe() -> None:
            if changed in self._subscribers:
                self._subscribers.remove(changed)

        return unsubscribe

    async def reload(self) -> PolicyError | None:
        """Read the files now. What does not load changes nothing but `error`, which is returned."""
        async with self._reloading:
            return await self._reload()

    async def poll(self) -> bool:
        """Reload if the files have changed; whether they had. Files count as changed once they look the same twice in a
        row: half of a policy that is being written may well load, without the denials at its end."""
        async with self._reloading:
            stamp = await asyncio.to_thread(self._look)
            if stamp != self._seen:
                self._seen = stamp
                return False
            if stamp == self._stamp:
                return False
            self._stamp = stamp
            if await asyncio.to_thread(self._read_digest) == self._digest:
                return False
            await self._reload()
            return True

    def reload_soon(self) -> None:
        """`run` reloads without waiting for the interval: for signal handlers."""
        self._asked.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._asked.wait()
            try:
                if self._asked.is_set():
                    self._asked.clear()
                    await self.reload()
                else:
                    await self.poll()
            except Exception:  # noqa: BLE001 - the watch has to go on, and what is in force stays
                self.failures += 1
                _log.exception("policy.watch_failed")

    async def _reload(self) -> PolicyError | None:
        read = await asyncio.to_thread(self._read)
        # What was looked at before it was read: a change in between is seen by the next poll.
        self._stamp = self._seen = read.stamp
        self._digest = read.digest
        if isinstance(read.outcome, PolicyError):
            self.error = read.outcome
            self.failures += 1
            _log.error("policy.rejected", problems=read.outcome.message, in_force=self.current.version[:12])
            return read.outcome
        self.error = None
        if read.outcome.version != self.current.version:
            self._put_in_force(read.outcome)
        return None

    def _put_in_force(self, policy: PolicySet) -> None:
        self.current = policy
        self.loaded_at = datetime.now(UTC)
        self.loads += 1
        _log.info("policy.loaded", version=policy.version[:12], rules=len(policy.rules), masks=len(policy.all_masks))
        for warning in policy.warnings:
            _log.warning("policy.doubtful", place=warning.place, message=warning.message)
        for changed in tuple(self._subscribers):
            self._tell(changed, policy)

    def _read(self) -> _Read:
        """In a thread."""
        stamp, digest = self._look(), self._read_digest()
        try:
            return _Read(stamp, digest, load(self._paths))
        except PolicyError as error:
            return _Read(stamp, digest, error)

    @staticmethod
    def _tell(changed: Changed, policy: PolicySet) -> None:
        try:
            changed(policy)
        except Exception:  # noqa: BLE001 - one subscriber's trouble keeps the policy from nobody else
            _log.exception("policy.subscriber_failed")

    def _files(self) -> list[Path]:
        unreadable: list[Problem] = []
        return policy_files(self._paths, unreadable)

    def _look(self) -> _Stamp:
        found = []
        for path in self._files():
            try:
                stat = path.stat()
            except OSError:
                found.append((str(path), 0, 0, -1))
            else:
                found.append((str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return tuple(found)

    def _read_digest(self) -> str:
        digest = hashlib.sha256()
        for path in self._files():
            digest.update(str(path).encode() + b"\0")
            try:
                digest.update(hashlib.sha256(path.read_bytes()).digest())
            except OSError:
                digest.update(b"unreadable")
        return digest.hexdigest()
