"""SQLite without the layers: the few statements that every connection waits for, each one hop to a thread and back.

The asynchronous driver hops for the cursor, the execution, the rows and the closing each; for a statement of twenty
microseconds that is nearly all of its price.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any


class DirectSqlite:
    """A connection of its own in a thread of its own; one statement at a time, each a transaction by itself.

    `timeout`: seconds to wait for another process's lock. `durable` false: a commit survives the death of any process,
    and the machine's from the next durable commit of any connection to the file on.
    """

    def __init__(self, path: Path, *, timeout: float, durable: bool) -> None:
        self._path = path
        self._timeout = timeout
        self._durable = durable
        self._thread = ThreadPoolExecutor(1, "taskgate-store")
        self._connection: sqlite3.Connection | None = None

    async def run(self, text: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """The statement's rows. Once begun it runs to its end, also when the caller is cancelled: whoever comes next
        comes after it. Raises sqlite3.Error."""
        running = asyncio.get_running_loop().run_in_executor(self._thread, self._run, text, parameters)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            running.exception()
            raise

    def _run(self, text: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = self._connect()
        try:
            return self._connection.execute(text, parameters).fetchall()
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error:
            self._hang_up()  # the next statement starts afresh
            raise

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        # Moving the log into the file syncs both: left to those for whom nobody waits.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Waits for what is running."""
        self._thread.shutdown()
        self._hang_up()
