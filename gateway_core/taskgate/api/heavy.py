"""Work that reads whole recordings: a few at a time, in threads, so that the gateway's loop never waits for a disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Request

T = TypeVar("T")


class HeavyWork:
    """At most `slots` at once; the others wait their turn."""

    def __init__(self, slots: int = 2) -> None:
        self._slots = asyncio.Semaphore(slots)

    async def run(self, work: Callable[[], T]) -> T:
        async with self._slots:
            return await asyncio.to_thread(work)


def _heavy_work(request: Request) -> HeavyWork:
    work: HeavyWork = request.app.state.heavy_work
    return work


Heavy = Annotated[HeavyWork, Depends(_heavy_work)]
