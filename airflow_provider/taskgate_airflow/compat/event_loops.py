"""Synchronous code in a triggerer's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def in_event_loop() -> bool:
    """Whether this is called, synchronously, from code that runs in an event loop: to block is to block all of it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def awaited_from_sync(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs `work` for synchronous code in a trigger's event loop, where the other triggers go on meanwhile. Raises
    RuntimeError where the triggerer gave it no way to (AIRFLOW_DISABLE_GREENBACK_PORTAL)."""
    import greenback

    if not greenback.has_portal():
        work.close()
        raise RuntimeError("no greenback portal")
    result: Result = greenback.await_(work)
    return result
