"""The policy in force: read once, watched, replaced only by a set that loads."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import structlog

from taskgate.errors import PolicyError
from taskgate.policy.load import load, policy_files
from taskgate.policy.policy_set import PolicySet
from taskgate.policy.problems import Problem

_log = structlog.get_logger(__name__)

Changed = Callable[[PolicySet], None]
_Stamp = tuple[tuple[str, int, int, int], ...]


class _Read(NamedTuple):
    """The files as they were read, and what they hold."""

    stamp: _Stamp
    digest: str
    policy: PolicySet | PolicyError


class PolicyHolder:
    """`current` is the last set that loaded; `error` says what is wrong with the files as they are now, None where they
    are what is in force. Not thread-safe; one event loop."""

    def __init__(self, paths: Iterable[Path | str], *, interval: float = 1.0, prepare: Changed | None = None) -> None:
        """Loads; raises PolicyError where there is nothing good to begin with. `interval` in seconds. `prepare` is
        called in the thread with a new set before that is in force, to do what would take long on the event loop; its
        trouble keeps the set from nobody."""
        self._paths = tuple(Path(path) for path in paths)
        self._interval = interval
        self._prepare = prepare
        self._subscribers: list[Changed] = []
        self._stamp = self._look()
        self._seen = self._stamp
        self._digest = self._read_digest()
        self.current: PolicySet = load(self._paths)
        self.error: PolicyError | None = None
        self.loaded_at = datetime.now(UTC)
        self.loads = 1
        self.failures = 0
        self._hurry = asyncio.Event()

    def subscribe(self, changed: Changed) -> Callable[[], None]:
        """Call `changed` with every new set, after it is in force. Returns what ends that."""
        self._subscribers.append(changed)

        def unsubscribe() -> None:
            if changed in self._subscribers:
                self._subscribers.remove(changed)

        return unsubscribe

    def reload(self) -> PolicyError | None:
        """Read the files now. What does not load changes nothing but `error`, which is returned."""
        return self._take(self._read())

    def poll(self) -> bool:
        """Reload if the files have changed; whether they had."""
        if not self._settled() or self._read_digest() == self._digest:
            return False
        self.reload()
        return True

    def hurry(self) -> None:
        """Have `run` read the files now, whether they have changed or not."""
        self._hurry.set()

    async def run(self) -> None:
        """Watch until cancelled. A thousand rules take a thread a while to read; sessions go on meanwhile."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._hurry.wait()
            try:
                if self._hurry.is_set():
                    self._hurry.clear()
                elif not self._settled() or await asyncio.to_thread(self._read_digest) == self._digest:
                    continue
                self._take(await asyncio.to_thread(self._read))
            except Exception:  # noqa: BLE001 - the watch has to go on, and what is in force stays
                self.failures += 1
                _log.exception("policy.watch_failed")

    def _settled(self) -> bool:
        """Whether the files are others than those read last. They count as changed once they look the same twice in a
        row: half of a policy that is being written may well load, without the denials at its end."""
        stamp = self._look()
        if stamp != self._seen:
            self._seen = stamp
            return False
        changed = stamp != self._stamp
        self._stamp = stamp
        return changed

    def _read(self) -> _Read:
        """May run in another thread: it only looks at files."""
        stamp, digest = self._look(), self._read_digest()
        try:
            policy = load(self._paths)
        except PolicyError as error:
            return _Read(stamp, digest, error)
        if self._prepare is not None and policy.version != self.current.version:
            self._tell(self._prepare, policy)
        return _Read(stamp, digest, policy)

    def _take(self, read: _Read) -> PolicyError | None:
        self._stamp = self._seen = read.stamp
        self._digest = read.digest
        policy = read.policy
        if isinstance(policy, PolicyError):
            self.error = policy
            self.failures += 1
            _log.error("policy.rejected", problems=policy.message, in_force=self.current.version[:12])
            return policy
        self.error = None
        if policy.version == self.current.version:
            return None
        self.current = policy
        self.loaded_at = datetime.now(UTC)
        self.loads += 1
        _log.info("policy.loaded", version=policy.version[:12], rules=len(policy.rules), masks=len(policy.all_masks))
        for warning in policy.warnings:
            _log.warning("policy.doubtful", place=warning.place, message=warning.message)
        for changed in tuple(self._subscribers):
            self._tell(changed, policy)
        return None

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
