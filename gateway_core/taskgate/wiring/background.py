"""What goes on beside the sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import structlog

log = structlog.get_logger(__name__)

PAUSE = 10.0
"""Seconds before what failed is started again."""


class Background:
    """Tasks none of which may end before `stop`: half a gateway is not let run on. `failed` raises when one does.

    What goes on about one orchestrator is another matter: whoever has that in their hands decides what its answers are,
    and must not be able to end the gateway of all the others. That is started again."""

    def __init__(self) -> None:
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, name: str, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def spawn_again(self, name: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """`work` is started anew, after a pause, whenever it ends: `stop` alone ends it for good."""
        self.spawn(name, _again(name, work))

    async def stop(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or self.failed.done():
            return
        error = task.exception() or RuntimeError("ended")
        log.error("gateway.background_failed", task=task.get_name(), error=type(error).__name__, exc_info=error)
        self.failed.set_exception(RuntimeError(f"{task.get_name()} failed"))


async def _again(name: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
    while True:
        error: Exception = RuntimeError("ended")
        try:
            await work()
        except Exception as raised:  # noqa: BLE001  whatever it is, it stays with this one
            error = raised
        log.error(
            "gateway.background_restarted", task=name, error=type(error).__name__, seconds=PAUSE, exc_info=error
        )  # fmt: skip
        await asyncio.sleep(PAUSE)
