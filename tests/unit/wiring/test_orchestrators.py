"""What one orchestrator makes of its own loops ends neither the gateway nor anybody else's."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from taskgate.wiring import background as background_module
from taskgate.wiring import orchestrators as wiring
from taskgate.wiring.background import Background
from taskgate.wiring.orchestrators import OrchestratorSide


class Loop:
    """Stands in for each of the loops, whose own tests are elsewhere: fails for `hostile`, goes on for all others."""

    started: ClassVar[Counter[str]] = Counter()

    def __init__(self, source: Any, *_: object) -> None:
        self.name = source.name

    async def run(self, *_: object) -> None:
        self.started[self.name] += 1
        if self.name == "hostile":
            raise AttributeError("'str' object has no attribute 'get'")
        await asyncio.Event().wait()


async def test_a_hostile_orchestrator_hurts_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_module, "PAUSE", 0.01)
    monkeypatch.setattr(wiring, "Reconciling", Loop)
    monkeypatch.setattr(wiring, "ReconcilingRegistrations", Loop)
    monkeypatch.setattr(Loop, "started", Counter())
    both = {name: cast(Any, SimpleNamespace(name=name)) for name in ("hostile", "honest")}
    loops = {name: cast(Any, Loop(one)) for name, one in both.items()}
    known = SimpleNamespace(
        attempts=None, endings=None, registered=None, sources=tuple(both.values()), prefects=both, airflows={}
    )
    side = OrchestratorSide(cast(Any, known), loops, loops, cast(Any, None), AsyncExitStack())
    background = Background()
    side.start(background, cast(Any, None))
    async with asyncio.timeout(5):
        while Loop.started["hostile"] < 12:  # each of the four, three times
            await asyncio.sleep(0.01)
    assert not background.failed.done()
    assert Loop.started["honest"] == 4
    await background.stop()
