"""Requests that wait for something to happen: many at once, but never so many that nobody else gets an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, Request


class LongPolls:
    """At most `places` wait; who finds none free is answered at once and asks again."""

    def __init__(self, places: int = 256) -> None:
        self._free = places

    @asynccontextmanager
    async def place(self) -> AsyncIterator[bool]:
        """Whether there was one; it is held until the block ends."""
        free = self._free > 0
        self._free -= free
        try:
            yield free
        finally:
            self._free += free


def _long_polls(request: Request) -> LongPolls:
    polls: LongPolls = request.app.state.long_polls
    return polls


Polls = Annotated[LongPolls, Depends(_long_polls)]
